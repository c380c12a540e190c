use std::time::Instant;
use verdigris_native::{Encoding, Format, Limits, Masking, decode_masked};
fn main() {
    let body = std::fs::read(std::env::args().nth(1).expect("a body")).expect("a file");
    let mut best = [f64::MAX; 2];
    for _ in 0..if std::env::args().nth(2).is_some() { 400 } else { 150 } {
        for (which, masking) in [Masking::strict(), Masking::off()].into_iter().enumerate() {
            let start = Instant::now();
            let decoded = decode_masked(&body, Format::Protobuf, Encoding::Identity, &Limits::default(), masking).expect("good");
            let spans = decoded.batch.num_rows() as f64;
            best[which] = best[which].min(start.elapsed().as_nanos() as f64 / spans);
        }
    }
    println!("with {:.0} ns, without {:.0} ns a span, kept {:.2}", best[0], best[1], best[1] / best[0]);
}
