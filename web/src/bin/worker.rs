//! The worker.

fn main() {
    web::worker::start();
}
