//! A short, fixed run of the fuzzer; `cargo run --release --example fuzz` is the long one.

#[allow(dead_code, reason = "shared with the example of the same name")]
#[path = "../examples/fuzz/mutation.rs"]
mod mutation;

use verdigris_native::{Encoding, Format, Limits};

#[test]
fn the_samples_are_good() {
    for seed in mutation::seeds(Vec::new()) {
        let decoded = mutation::check(&seed.body, seed.format, seed.encoding, &Limits::default()).expect("a good body");
        assert_eq!(decoded.batch.num_rows(), 3);
        assert_eq!(decoded.tally.refused_spans(), 1);
    }
}

#[test]
fn mutated_bodies_end_in_a_batch_or_a_typed_error() {
    let outcomes = mutation::run(7, &mutation::seeds(Vec::new()), |done| done < 6_000);
    assert!(outcomes.decoded > 300 && outcomes.refused > 300, "{outcomes:?}");
}

#[test]
fn what_is_planted_in_a_random_text_never_comes_out() {
    assert_eq!(mutation::run_texts(7, |done| done < 100_000), 100_000);
}

#[test]
fn every_prefix_of_a_body_ends_in_a_batch_or_a_typed_error() {
    for seed in mutation::seeds(Vec::new()) {
        for end in 0..seed.body.len() {
            let cut = mutation::check(&seed.body[..end], seed.format, seed.encoding, &Limits::default());
            // Protobuf has no end mark, so a prefix that ends between two top-level fields is a body of its own.
            let whole = seed.format == Format::Protobuf && seed.encoding == Encoding::Identity;
            assert!(cut.is_err() || whole || seed.body[end..].trim_ascii().is_empty(), "{:?} {end}", seed.format);
        }
    }
}
