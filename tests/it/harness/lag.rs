//! A network between client and server that is slow, hangs, breaks or is not there.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Pieces under way in one direction.
const PIECES_MAX: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Bytes arrive after so long.
    Pass(Duration),
    /// Bytes do not arrive, connections do.
    Stall,
    /// Connections are refused, those there were are cut.
    Refuse,
}

/// A TCP relay.
pub struct Lag {
    addr: SocketAddr,
    weather: watch::Sender<Weather>,
    cuts: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Lag {
    /// In front of a server on loopback.
    pub async fn before(port: u16) -> Lag {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (weather, seen) = watch::channel(Weather::Pass(Duration::ZERO));
        let (cuts, cut) = watch::channel(0);
        let task = tokio::spawn(listen(listener, addr, port, seen, cut));
        Lag {
            addr,
            weather,
            cuts,
            task,
        }
    }

    pub fn node(&self) -> String {
        self.addr.to_string()
    }

    /// Every piece arrives so much later, in each direction.
    pub fn latency(&self, latency: Duration) {
        self.weather.send_replace(Weather::Pass(latency));
    }

    /// Nothing arrives.
    pub fn stall(&self) {
        self.weather.send_replace(Weather::Stall);
    }

    /// Connections there are end; new ones are served.
    pub fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }

    /// Nothing listens.
    pub fn refuse(&self) {
        self.weather.send_replace(Weather::Refuse);
    }

    /// All is well again.
    pub fn clear(&self) {
        self.latency(Duration::ZERO);
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    listener: TcpListener,
    addr: SocketAddr,
    port: u16,
    mut weather: watch::Receiver<Weather>,
    cut: watch::Receiver<u64>,
) {
    let mut listener = Some(listener);
    loop {
        if *weather.borrow_and_update() == Weather::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(addr).await.unwrap());
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = weather.changed() => if changed.is_err() { return },
            accepted = accepted => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(relay(client, port, weather.clone(), cut.clone()));
                }
            }
        }
    }
}

async fn relay(
    client: TcpStream,
    port: u16,
    mut weather: watch::Receiver<Weather>,
    mut cut: watch::Receiver<u64>,
) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    cut.mark_unchanged();
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let ends = weather.clone();
    tokio::select! {
        () = one_way(client_read, server_write, ends.clone()) => {}
        () = one_way(server_read, client_write, ends) => {}
        _ = cut.changed() => {}
        _ = weather.wait_for(|weather| *weather == Weather::Refuse) => {}
    }
}

async fn one_way(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let read = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let piece = (Instant::now(), buffer[..length].to_vec());
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((came, piece)) = pieces.recv().await {
            loop {
                let now = *weather.borrow_and_update();
                let due = match now {
                    Weather::Pass(latency) => came + latency,
                    Weather::Stall | Weather::Refuse => came + Duration::from_secs(3600),
                };
                tokio::select! {
                    () = sleep_until(due) => break,
                    changed = weather.changed() => if changed.is_err() { return },
                }
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}
