//! The page.

fn main() {
    web::ui::start();
}
