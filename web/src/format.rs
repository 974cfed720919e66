//! Numbers as people read them.

/// 98362432 → "98.4 MB"; decimal units, as download pages use them.
pub fn bytes(n: u64) -> String {
    let n = n as f64;
    match n {
        n if n < 1e3 => format!("{n} bytes"),
        n if n < 1e6 => format!("{:.0} kB", n / 1e3),
        n if n < 9.995e7 => format!("{:.1} MB", n / 1e6),
        n if n < 1e9 => format!("{:.0} MB", n / 1e6),
        n => format!("{:.2} GB", n / 1e9),
    }
}

/// 12345 → "12,345".
pub fn integer(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Number of weights: 134515008 → "135 M".
pub fn parameters(n: u64) -> String {
    let n = n as f64;
    match n {
        n if n < 1e6 => format!("{:.0} k", n / 1e3),
        n if n < 9.995e8 => format!("{:.0} M", n / 1e6),
        n => format!("{:.1} B", n / 1e9),
    }
}

/// Milliseconds: 84 → "84 ms", 1234 → "1.2 s", 75000 → "1 min 15 s".
pub fn duration(ms: f64) -> String {
    match ms {
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 59_950.0 => format!("{:.1} s", ms / 1e3),
        ms => {
            let s = (ms / 1e3).round() as u64;
            format!("{} min {} s", s / 60, s % 60)
        }
    }
}

/// A rate below 10 with one digit after the point, above with none.
pub fn rate(per_second: f64) -> String {
    if per_second < 9.95 {
        format!("{per_second:.1}")
    } else {
        format!("{per_second:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(98_362_432), "98.4 MB");
        assert_eq!(bytes(99_960_000), "100 MB");
        assert_eq!(bytes(1_240_000_000), "1.24 GB");
        assert_eq!(integer(7), "7");
        assert_eq!(integer(8192), "8,192");
        assert_eq!(integer(1_234_567), "1,234,567");
        assert_eq!(parameters(134_515_008), "135 M");
        assert_eq!(parameters(1_700_000_000), "1.7 B");
        assert_eq!(duration(84.4), "84 ms");
        assert_eq!(duration(1234.0), "1.2 s");
        assert_eq!(duration(75_000.0), "1 min 15 s");
        assert_eq!(rate(3.26), "3.3");
        assert_eq!(rate(31.4), "31");
    }
}
