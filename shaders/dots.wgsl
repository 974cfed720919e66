// Dot products of an invocation's 4 rows with its 8 tokens.
struct Dots {
    first: mat4x4<f32>, // [row, token], tokens 0 .. 3
    second: mat4x4<f32>, // tokens 4 .. 7
}
