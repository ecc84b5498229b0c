//! Known answers, nonces and nonce counts.

use super::nonce::NonceId;
use super::{Algorithm, Credentials, Digest, Ha1, MAX_NONCES, NONCE_LIFETIME_MS, NonceKey, ReplayWindow, Verdict};

const BOTH: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];

fn mufasa(realm: &str) -> Ha1 {
    let parts: [&[u8]; 3] = [b"Mufasa", realm.as_bytes(), b"Circle of Life"];
    Ha1 { md5: Algorithm::Md5.hash(&parts), sha256: Algorithm::Sha256.hash(&parts) }
}

/// The example of RFC 7616 3.9.1, both algorithms.
#[test]
fn the_rfc_example() {
    let expected = [
        (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
        (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ];
    for (algorithm, response) in expected {
        let value = format!(
            "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", algorithm={}, \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
             cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\"",
            algorithm.name()
        );
        let answer = Credentials::parse(value.as_bytes()).expect("readable");
        let ha1 = Ha1 {
            md5: Algorithm::Md5.hash(&[b"Mufasa", b"http-auth@example.org", b"Circle of Life"]),
            sha256: Algorithm::Sha256.hash(&[b"Mufasa", b"http-auth@example.org", b"Circle of Life"]),
        };
        assert_eq!(answer.expected(&ha1, b"GET"), response);
    }
}

fn credentials(nonce: &str, user: &str, count: u32) -> String {
    let ha1 = mufasa("r");
    let ha2 = Algorithm::Sha256.hash(&[b"REGISTER", b"sip:r"]);
    let count = format!("{count:08x}");
    let response = Algorithm::Sha256.hash(&[
        ha1.sha256.as_bytes(),
        nonce.as_bytes(),
        count.as_bytes(),
        b"c",
        b"auth",
        ha2.as_bytes(),
    ]);
    format!(
        "Digest username=\"{user}\",realm=\"r\",nonce=\"{nonce}\",uri=\"sip:r\",response=\"{response}\",\
         algorithm=SHA-256,qop=auth,nc={count},cnonce=\"c\""
    )
}

/// None: no credentials for an answer to a challenge of ours.
fn check(digest: &mut Digest, value: &str, now_ms: u64) -> Option<Verdict> {
    let shown = digest.find([value.as_bytes()], "r")?;
    let stored = (shown.user() == "Mufasa").then(|| mufasa("r"));
    Some(digest.check(&shown, b"REGISTER", now_ms, stored.as_slice()))
}

#[test]
fn a_nonce_lives_its_time_and_its_counts_once() {
    let key = NonceKey::new([1; 32]);
    let mut digest = Digest::new(key.clone(), BOTH.to_vec());
    let nonce = key.issue("r", 1_000, [2; 8]);
    assert_eq!(check(&mut digest, &credentials(&nonce, "Mufasa", 1), 2_000), Some(Verdict::Right));
    assert_eq!(check(&mut digest, &credentials(&nonce, "Mufasa", 1), 2_000), Some(Verdict::Stale));
    assert_eq!(check(&mut digest, &credentials(&nonce, "Mufasa", 3), 2_000), Some(Verdict::Right));
    assert_eq!(check(&mut digest, &credentials(&nonce, "Mufasa", 2), 2_000), Some(Verdict::Right));
    let late = 1_000 + NONCE_LIFETIME_MS;
    assert_eq!(check(&mut digest, &credentials(&nonce, "Mufasa", 4), late), Some(Verdict::Stale));
    assert_eq!(check(&mut digest, &credentials(&nonce, "Nobody", 5), 2_000), Some(Verdict::Wrong));
    assert_eq!(check(&mut digest, "Basic abc", 2_000), None);
    assert_eq!(check(&mut digest, "Digest", 2_000), None);
    let foreign = NonceKey::new([3; 32]).issue("r", 1_000, [2; 8]);
    assert_eq!(check(&mut digest, &credentials(&foreign, "Mufasa", 1), 2_000), Some(Verdict::Stale));
    let other_realm = key.issue("s", 1_000, [2; 8]);
    assert_eq!(check(&mut digest, &credentials(&other_realm, "Mufasa", 1), 2_000), Some(Verdict::Stale));
    let wrong = credentials(&nonce, "Mufasa", 9).replace("response=\"", "response=\"x");
    assert_eq!(check(&mut digest, &wrong, 2_000), Some(Verdict::Wrong));
}

/// An answer without qop has no count, so it could be shown again: it answers none of our challenges.
#[test]
fn an_answer_without_qop_is_none() {
    let key = NonceKey::new([1; 32]);
    let nonce = key.issue("r", 1_000, [2; 8]);
    let ha2 = Algorithm::Md5.hash(&[b"REGISTER", b"sip:r"]);
    let response = Algorithm::Md5.hash(&[mufasa("r").md5.as_bytes(), nonce.as_bytes(), ha2.as_bytes()]);
    let value = format!(
        "Digest username=\"Mufasa\",realm=\"r\",nonce=\"{nonce}\",uri=\"sip:r\",response=\"{response}\",algorithm=MD5"
    );
    assert_eq!(check(&mut Digest::new(key, BOTH.to_vec()), &value, 2_000), None);
}

#[test]
fn old_baresip_is_offered_md5_alone() {
    let offers = |offered: &[Algorithm], agent: &[u8]| {
        Digest::new(NonceKey::new([1; 32]), offered.to_vec()).challenges("r", agent, false, 1_000, [2; 8]).len()
    };
    assert_eq!(offers(&BOTH, b"baresip v1.0.0 (x86_64/linux)"), 1);
    assert_eq!(offers(&BOTH, b"baresip v3.1.0 (x86_64/linux)"), 2);
    assert_eq!(offers(&BOTH, b""), 2);
    assert_eq!(offers(&[Algorithm::Sha256], b"baresip v1.0.0"), 1, "what is not offered stays so");
}

#[test]
fn an_algorithm_that_is_not_offered_is_not_taken() {
    let key = NonceKey::new([1; 32]);
    let nonce = key.issue("r", 1_000, [2; 8]);
    let mut digest = Digest::new(key, vec![Algorithm::Md5]);
    assert_eq!(check(&mut digest, &credentials(&nonce, "Mufasa", 1), 2_000), None);
}

#[test]
fn the_window_of_counts_is_bounded_in_both_directions() {
    let mut window = ReplayWindow::default();
    let nonce = |number: u64| NonceId { issued_ms: 1_000 + number, random: [0; 8] };
    assert!(!window.accept(nonce(0), 0, 1_000));
    assert!(window.accept(nonce(0), 100, 1_000));
    assert!(window.accept(nonce(0), 37, 1_000), "63 below the highest");
    assert!(!window.accept(nonce(0), 36, 1_000), "64 below");
    assert!(!window.accept(nonce(0), 37, 1_000));
    assert!(window.accept(nonce(0), 5_000, 1_000));
    assert!(!window.accept(nonce(0), 100, 1_000));
    for number in 1..=MAX_NONCES as u64 {
        assert!(window.accept(nonce(number), 1, 1_000));
    }
    assert!(!window.accept(nonce(0), 5_001, 1_000), "forgotten: used again it is stale, never fresh");
}
