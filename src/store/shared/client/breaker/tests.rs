use super::*;
use std::cell::Cell;

thread_local! {
    /// Time that passes in tests.
    pub static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn advance(by: Duration) {
    PASSED.set(PASSED.get() + by);
}

fn fail(breaker: &Breaker, times: u32) {
    for _ in 0..times {
        breaker.enter().unwrap().bad();
    }
}

#[test]
fn failures_in_a_row_open_it_and_a_good_probe_closes_it() {
    let breaker = Breaker::default();
    fail(&breaker, IN_A_ROW - 1);
    breaker.enter().unwrap().good();
    fail(&breaker, IN_A_ROW - 1);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
    assert!(breaker.enter().is_none());
    advance(STEP_MIN);
    assert_eq!(breaker.state(), State::HalfOpen);
    let probe = breaker.enter().unwrap();
    assert!(breaker.enter().is_none());
    probe.good();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn half_of_many_open_it_and_half_of_few_do_not() {
    let breaker = Breaker::default();
    for _ in 0..9 {
        breaker.enter().unwrap().good();
        breaker.enter().unwrap().bad();
    }
    advance(WINDOW);
    for _ in 0..9 {
        breaker.enter().unwrap().good();
        breaker.enter().unwrap().bad();
    }
    assert_eq!(breaker.state(), State::Closed);
    breaker.enter().unwrap().good();
    breaker.enter().unwrap().bad();
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn probes_come_less_and_less_often() {
    let breaker = Breaker::default();
    fail(&breaker, IN_A_ROW);
    let mut step = STEP_MIN;
    for _ in 0..8 {
        advance(step - Duration::from_millis(1));
        assert!(breaker.enter().is_none());
        advance(Duration::from_millis(1));
        breaker.enter().unwrap().bad();
        step = (step * 2).min(STEP_MAX);
    }
    assert_eq!(step, STEP_MAX);
    breaker.try_soon();
    breaker.enter().unwrap().good();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_probe_that_is_dropped_makes_room_for_another() {
    let breaker = Breaker::default();
    fail(&breaker, IN_A_ROW);
    advance(STEP_MIN);
    drop(breaker.enter().unwrap());
    assert!(breaker.enter().is_some());
}

#[test]
fn what_was_let_through_before_has_no_say_afterwards() {
    let breaker = Breaker::default();
    let late_good = breaker.enter().unwrap();
    let late_bad = breaker.enter().unwrap();
    fail(&breaker, IN_A_ROW);
    advance(STEP_MIN);
    let probe = breaker.enter().unwrap();
    late_good.good();
    late_bad.bad();
    assert_eq!(breaker.state(), State::HalfOpen);
    assert!(breaker.enter().is_none());
    probe.good();
    assert_eq!(breaker.state(), State::Closed);
}
