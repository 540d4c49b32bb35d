//! The floor of any broadcast: one thread that write(2)s the same frame to the same sockets, and does nothing else.
//! Prints its port. `GO ROUNDS` from any connection (the frame follows a space) starts that many rounds.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?.port());
    let mut sockets: Vec<TcpStream> = Vec::new();
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        let mut line = String::new();
        BufReader::new(stream.try_clone()?).read_line(&mut line)?;
        let Some(order) = line.strip_prefix("GO ") else {
            sockets.push(stream);
            continue;
        };
        let (rounds, bytes) = order.trim().split_once(' ').expect("GO ROUNDS BYTES");
        let frame = vec![b'x'; bytes.parse().expect("a number")];
        for _ in 0..rounds.parse::<u32>().expect("a number") {
            // A round begins when the driver has read the one before.
            let mut ready = String::new();
            for socket in &mut sockets {
                socket.write_all(&frame)?;
            }
            BufReader::new(&stream).read_line(&mut ready)?;
        }
    }
    Ok(())
}
