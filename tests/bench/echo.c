/* The floor of any echo: one thread, one epoll, and nothing done but to read a message and write the ack that it asks for.
 * A message is a websocket text frame of 126 to 65,535 bytes with a mask of zero: `42{id}[...`; the ack is `43{id}[]`.
 * Prints its port. */

#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER = 8, EVENTS = 256 };

static void answer(int client) {
    static char message[16384];
    ssize_t got = recv(client, message, sizeof message, MSG_DONTWAIT);
    if (got == 0) {
        close(client);
        return;
    }
    if (got < HEADER + 3)
        return;
    char ack[32] = {(char)0x81, 0, '4', '3'};
    char *end = ack + 4;
    for (char *id = message + HEADER + 2; *id >= '0' && *id <= '9' && end < ack + 28;)
        *end++ = *id++;
    *end++ = '[';
    *end++ = ']';
    ack[1] = (char)(end - ack - 2);
    send(client, ack, (size_t)(end - ack), MSG_NOSIGNAL);
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), loop = epoll_create1(0), yes = 1;
    if (bind(listener, (void *)&address, length) || listen(listener, 1024) || getsockname(listener, (void *)&address, &length))
        return 1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = listener}}, events[EVENTS];
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(loop, events, EVENTS, -1);
        for (int at = 0; at < ready; at++) {
            if (events[at].data.fd != listener) {
                answer(events[at].data.fd);
                continue;
            }
            event.data.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
            setsockopt(event.data.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            epoll_ctl(loop, EPOLL_CTL_ADD, event.data.fd, &event);
        }
    }
}
