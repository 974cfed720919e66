//! The worker, for browsers with relaxed SIMD (index.html).

fn main() {
    web::worker::start();
}
