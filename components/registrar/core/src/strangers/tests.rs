//! Buckets against a naive model, and the brake on guesses.

use proptest::prelude::*;

use super::{Buckets, Guesser, Guesses, Rate, source_key};

proptest! {
    /// One bucket, asked at random times, gives what a naive reckoning in fractions gives.
    #[test]
    fn a_bucket_agrees_with_the_model(waits in prop::collection::vec(0..30_000_u64, 1..200), per_minute in 1..600_u32, burst in 1..20_u32) {
        let mut buckets = Buckets::new(Rate { per_minute, burst }, [1; 32]);
        let (mut now_ms, mut level) = (1_764_558_000_000_u64, f64::from(burst));
        buckets.take(&[b"a"], now_ms);
        level -= 1.0;
        for wait in waits {
            now_ms += wait;
            level = (level + f64::from(per_minute) * wait as f64 / 60_000.0).min(f64::from(burst));
            // Each step may lose a part of a token to rounding, and there are up to 200.
            let unsure = (level - 1.0).abs() < 0.21;
            let taken = buckets.take(&[b"a"], now_ms);
            prop_assert!(unsure || taken == (level >= 1.0), "level {level} taken {taken}");
            if taken {
                level -= 1.0;
            }
            if unsure {
                return Ok(());
            }
        }
    }
}

#[test]
fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
    let key = |text: &str| source_key(text.parse().expect("an address"));
    assert_eq!(key("10.0.0.1"), key("::ffff:10.0.0.1"));
    assert_ne!(key("10.0.0.1"), key("10.0.0.2"));
    assert_eq!(key("2001:db8::1"), key("2001:db8::2:3"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
}

fn guesser<'a>(source: &str, user: &'a str) -> Guesser<'a> {
    Guesser { source: source.parse().expect("an address"), realm: "r", user, registered: false }
}

/// How many of 1,000 wrong passwords are looked at within a minute.
fn looked_at(guesses: &mut Guesses, who: impl Fn(u64) -> String, user: impl Fn(u64) -> String) -> u32 {
    let mut looked = 0;
    for at in 0..1_000 {
        let (source, user) = (who(at), user(at));
        let guesser = guesser(&source, &user);
        let now_ms = 1_000_000 + at * 60;
        if guesses.allows(guesser, now_ms) {
            guesses.wrong(guesser, now_ms);
            looked += 1;
        }
    }
    looked
}

#[test]
fn a_few_guesses_a_minute_are_looked_at() {
    let one = |_: u64| "10.0.0.1:5060".to_owned();
    assert!(
        (5..=10).contains(&looked_at(&mut Guesses::new([1; 32]), one, |_| "100".to_owned())),
        "one user, one source"
    );
    let spray = looked_at(&mut Guesses::new([1; 32]), one, |at| at.to_string());
    assert!((60..=120).contains(&spray), "many users from one source: {spray}");
    let many = |at: u64| format!("10.0.{}.{}:5060", at / 250, at % 250);
    let spread = looked_at(&mut Guesses::new([1; 32]), many, |_| "100".to_owned());
    assert!((60..=120).contains(&spread), "one user from many sources: {spread}");
}

/// Whatever strangers do, the owner's registered phone and other users from other sources get through.
#[test]
fn guessing_locks_nobody_out() {
    let mut guesses = Guesses::new([1; 32]);
    let many = |at: u64| format!("10.0.{}.{}:5060", at / 250, at % 250);
    looked_at(&mut guesses, many, |_| "100".to_owned());
    let now_ms = 1_000_000 + 60_000;
    let owner = Guesser { registered: true, ..guesser("10.9.9.9:5060", "100") };
    assert!(guesses.allows(owner, now_ms), "the registered phone");
    assert!(guesses.allows(guesser("10.9.9.9:5060", "101"), now_ms), "another user");
}

#[test]
fn a_brake_is_told_once_a_minute_and_released_by_the_right_password() {
    let mut guesses = Guesses::new([1; 32]);
    let guesser = guesser("10.0.0.1:5060", "100");
    let told: Vec<bool> = (0..8).map(|at| guesses.wrong(guesser, 1_000_000 + at)).collect();
    assert_eq!(told, [false, false, false, false, true, false, false, false]);
    assert!(!guesses.allows(guesser, 1_000_100));
    assert!(guesses.allows(guesser, 1_013_000), "a try every 12 s");
    guesses.right(guesser, 1_013_000);
    assert!((0..4).all(|at| !guesses.wrong(guesser, 1_013_000 + at)));
    assert!(guesses.allows(guesser, 1_013_010));
}
