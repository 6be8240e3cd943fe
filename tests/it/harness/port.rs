//! Ports for servers under test, reserved against every other test on this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range that the system gives to outgoing connections, so that none of those takes a
/// port between its choice and the server's bind.
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;
/// Neighbouring processes start looking this far apart.
const STRIDE: u32 = 61;
/// How far above its clients' port a node of a cluster listens to the others, unless told otherwise,
/// which older servers cannot be.
const BUS: u16 = 10_000;

/// A port of 127.0.0.1 on which a server may listen; nobody else takes it while this lives.
pub struct Port {
    pub number: u16,
    /// The same port of 127.0.0.2: who holds that one has the right to the other.
    _right: TcpListener,
}

impl Port {
    /// A port nobody listens on.
    pub fn free() -> Self {
        search(COUNT, Self::claim)
    }

    /// Ports of a cluster's node: its clients', and [`BUS`] above it the one of its bus.
    pub fn with_bus() -> (Self, Self) {
        search(COUNT - u32::from(BUS), |number| {
            Some((Self::claim(number)?, Self::claim(number + BUS)?))
        })
    }

    fn claim(number: u16) -> Option<Self> {
        let right = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), number)).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self {
            number,
            _right: right,
        })
    }

    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

static NEXT: AtomicU16 = AtomicU16::new(0);

/// The first that can be had of so many numbers.
fn search<T>(count: u32, claim: impl Fn(u16) -> Option<T>) -> T {
    loop {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = std::process::id().wrapping_mul(STRIDE).wrapping_add(next);
        if let Some(claimed) = claim((FIRST + offset % count) as u16) {
            return claimed;
        }
    }
}
