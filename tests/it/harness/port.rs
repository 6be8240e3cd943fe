//! Ports for servers under test, reserved against every other test on this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range that the system gives to outgoing connections, so that none of those takes a
/// port between its choice and the server's bind.
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;
/// Neighbouring processes start looking this far apart.
const STRIDE: u32 = 61;

/// A port of 127.0.0.1 on which a server may listen; nobody else takes it while this lives.
pub struct Port {
    pub number: u16,
    /// The same port of 127.0.0.2: who holds that one has the right to the other.
    _right: TcpListener,
}

impl Port {
    /// A port nobody listens on.
    pub fn free() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        loop {
            let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            let offset = std::process::id().wrapping_mul(STRIDE).wrapping_add(next);
            let number = (FIRST + offset % COUNT) as u16;
            let right = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), number));
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, number));
            if let (Ok(right), Ok(_)) = (right, free) {
                return Self {
                    number,
                    _right: right,
                };
            }
        }
    }

    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}
