//! `cargo run --release --example fuzz -- --seconds 120 [--seed 1] [FILE.json …]`
//!
//! Mutates good bodies of both formats and checks that decoding each ends in a valid batch or a typed error, the same one
//! every time. Files are more OTLP/JSON bodies to start from. Then masks texts made at random, in a quarter of the time more.

use std::time::{Duration, Instant};

#[allow(dead_code, reason = "shared with the test of the same name")]
mod mutation;

fn main() {
    let mut seconds = 10;
    let mut seed = 1;
    let mut bodies = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok()).expect("a whole number");
        match argument.as_str() {
            "--seconds" => seconds = number(),
            "--seed" => seed = number(),
            file => bodies.push(std::fs::read(file).expect("a readable file")),
        }
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut executions = 0;
    let outcomes = mutation::run(seed, &mutation::seeds(bodies), |done| {
        executions = done;
        Instant::now() < end
    });
    println!("seed {seed}: {executions} executions in {seconds} s, {outcomes:?}, no failure");
    let end = Instant::now() + Duration::from_secs(seconds.div_ceil(4));
    let texts = mutation::run_texts(seed, |_| Instant::now() < end);
    println!("seed {seed}: {texts} texts masked, no failure");
}
