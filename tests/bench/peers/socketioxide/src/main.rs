//! socketioxide on axum with the bench's contract, on one thread like everybody here.

use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};
use std::time::Duration;

async fn connected(socket: SocketRef) {
    socket.join("all");
    socket.on("echo", async |Data::<Value>(data), ack: AckSender| {
        ack.send(&data).ok();
    });
    socket.on("join", async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
        socket.join(room);
        ack.send(&()).ok();
    });
    socket.on("broadcast", async |socket: SocketRef, Data::<String>(text)| {
        socket.within("all").emit("msg", &text).await.ok();
    });
    socket.on("stream", async |socket: SocketRef, Data::<(u32, String)>((count, text))| {
        for n in 0..count {
            // A full buffer means: later.
            while socket.emit("events", &text).is_err() {
                tokio::task::yield_now().await;
            }
            if n % 10 == 9 {
                tokio::task::yield_now().await;
            }
        }
    });
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let port = std::env::args().nth(1).expect("a port");
    let (layer, io) = SocketIo::builder()
        .ping_interval(Duration::from_secs(25))
        .ping_timeout(Duration::from_secs(60))
        .max_buffer_size(4096)
        .build_layer();
    io.ns("/", connected);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.expect("a free port");
    axum::serve(listener, axum::Router::new().layer(layer)).await.expect("a server");
}
