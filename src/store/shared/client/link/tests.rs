use std::sync::atomic::AtomicUsize;

use futures_util::stream::{self, StreamExt};
use redis::RedisConnectionInfo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::slots::Addr;
use super::*;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    closed: AtomicUsize,
    /// From here on servers read, to see whether the other side is still there.
    over: Notify,
}

/// A server that greets and then neither reads nor answers.
async fn hanging() -> (Addr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Seen::default());
    let by_server = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            by_server.accepted.fetch_add(1, Relaxed);
            let seen = by_server.clone();
            tokio::spawn(async move {
                let mut ping = [0; 14];
                stream.read_exact(&mut ping).await.unwrap();
                assert_eq!(&ping, b"*1\r\n$4\r\nPING\r\n");
                stream.write_all(b"+PONG\r\n").await.unwrap();
                seen.over.notified().await;
                while let Ok(1..) = stream.read(&mut [0; 65_536]).await {}
                seen.closed.fetch_add(1, Relaxed);
            });
        }
    });
    let host = "127.0.0.1".to_owned();
    (Addr { host, port }, seen)
}

fn link(addr: Addr) -> Link {
    let info = RedisConnectionInfo::default().set_skip_set_lib_name();
    let dialer = Dialer {
        tls: None,
        server: info.clone(),
        sentinel: info,
        readonly: false,
    };
    Link::new(Target::Node(addr), Arc::new(dialer))
}

/// Around the breaker, which would let next to nothing through.
#[tokio::test]
async fn what_is_not_answered_is_given_up_with_its_connection() {
    const TOGETHER: usize = 500;
    let (addr, seen) = hanging().await;
    let link = link(addr);
    link.start();
    let mut commands = redis::pipe();
    commands.cmd("SET").arg("k").arg(vec![1u8; 4096]);
    let began = Instant::now();
    let mut lost = 0;
    while began.elapsed() < ms(1500) {
        let asking = stream::iter(0..2 * TOGETHER)
            .map(|_| link.ask(&commands, Instant::now() + ms(5)))
            .buffer_unordered(TOGETHER);
        let outcomes: Vec<_> = asking.collect().await;
        lost += outcomes
            .iter()
            .filter(|o| **o == Err(Trouble::Deadline))
            .count();
        assert!(!outcomes.iter().any(Result::is_ok));
        sleep(ms(1)).await;
    }
    let accepted = seen.accepted.load(Relaxed);
    // Several connections were used up, and no more than a few: there is back-off between them.
    assert!((3..10).contains(&accepted), "{accepted}");
    // Every one of them held what is lost before it is given up, and what was under way then.
    assert!(
        lost <= accepted * (LOST_MAX as usize + TOGETHER + 1),
        "{lost} of {accepted}"
    );
    drop(link);
    while seen.closed.load(Relaxed) < accepted {
        seen.over.notify_waiters();
        sleep(ms(5)).await;
    }
}

/// A few operations now and then: not many are lost, but for too long.
#[tokio::test]
async fn a_connection_that_stays_silent_is_given_up() {
    let (addr, seen) = hanging().await;
    let link = link(addr);
    link.start();
    let mut commands = redis::pipe();
    commands.cmd("GET").arg("k");
    let began = Instant::now();
    while seen.accepted.load(Relaxed) < 2 {
        assert!(link.ask(&commands, Instant::now() + ms(20)).await.is_err());
        sleep(ms(50)).await;
    }
    assert!(began.elapsed() >= STALL_MAX);
    assert!(
        began.elapsed() < STALL_MAX + ms(1500),
        "{:?}",
        began.elapsed()
    );
}

/// One attempt at a time, less and less often, for as long as there is somebody to connect for.
#[tokio::test]
async fn attempts_stop_with_the_link() {
    // Nothing listens on port 1 of loopback.
    let link = link(Addr {
        host: "127.0.0.1".to_owned(),
        port: 1,
    });
    link.start();
    link.start();
    while link.error().is_none() {
        sleep(ms(1)).await;
    }
    let shared = link.shared.clone();
    drop(link);
    while Arc::strong_count(&shared) > 1 {
        sleep(ms(1)).await;
    }
}
