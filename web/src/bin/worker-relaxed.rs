//! The worker, for machines that are fast at relaxed SIMD (index.html).

fn main() {
    web::worker::start();
}
