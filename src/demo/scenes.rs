//! The five scenes: a miss, a hit, a streamed miss, a streamed hit, and a hundred clients at once.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::net::SocketAddr;

use super::stage::{CROWD, Question, Stage};
use super::{DemoError, StandIn};

/// Plays the five scenes against the proxy at `proxy`, whose upstream is `stand_in`, and writes
/// them to `out`: ASCII, at most 80 columns, with escape codes only if `colour`. Takes some seven
/// seconds at a real pace.
///
/// # Errors
/// When the proxy cannot be reached or takes too long, when `out` fails, and when a scene does not
/// show what it says: a second answer that is no hit, a crowd that costs more than one upstream
/// call, and so on.
pub async fn play(
    proxy: SocketAddr,
    stand_in: &StandIn,
    out: &mut (impl Write + Send),
    colour: bool,
) -> Result<(), DemoError> {
    let mut stage = Stage::new(proxy, stand_in, out, colour);
    let before = stand_in.calls();
    stage.opening()?;

    // So that an answer kept from an earlier run cannot spoil a miss.
    let run = RandomState::new().build_hasher().finish() & 0xffff_ffff;
    let plain = Question::new(format!("What is a cache? (run {run:08x})"), false);
    stage
        .screen
        .heading("1  A question nobody has asked before")?;
    let first = stage.ask(1, &plain, "miss", None).await?;
    stage.screen.heading("2  The same question again")?;
    stage.ask(2, &plain, "hit", Some(&first)).await?;

    let streamed = Question::new(format!("What is streaming good for? (run {run:08x})"), true);
    stage
        .screen
        .heading("3  A new question, streamed: tokens appear as they arrive")?;
    let first = stage.ask(3, &streamed, "miss", None).await?;
    stage
        .screen
        .heading("4  The same stream again: all its tokens at once")?;
    stage.ask(4, &streamed, "hit", Some(&first)).await?;

    let crowded = Question::new(
        format!("What if a hundred ask at once? (run {run:08x})"),
        true,
    );
    stage
        .screen
        .heading("5  A hundred clients, one question, at the same moment")?;
    stage.crowd(5, &crowded).await?;

    let paid = stand_in.calls().saturating_sub(before);
    let asked = CROWD as u64 + 4;
    stage
        .screen
        .heading(&format!("{asked} questions asked, {paid} paid for."))?;
    stage.screen.flush()?;
    Ok(())
}
