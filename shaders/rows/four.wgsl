// The rows of x of 4 tokens.
fn sources4(token: u32) -> vec4<u32> {
    return vec4(source(token), source(token + 1u), source(token + 2u), source(token + 3u));
}
