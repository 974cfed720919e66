// Products of two tiles in workgroup memory: of 64 rows with 32 tokens, 32 terms of each at a time. Of the workgroup's
// 64 invocations each has 4 rows and 8 tokens, so 3 loads serve 32 multiplications.
const ROW_LANES = 16u; // invocations side by side by rows; a lane's 4 are ROW_LANES apart
const TOKEN_QUADS = 8u;
const TERMS = 32u;

// Neighbouring invocations use neighbouring words, or the same one: no two of them want one memory bank.
var<workgroup> row_tile: array<vec4<f32>, 512>; // [TERMS, ROW_LANES], the lane's 4 rows
var<workgroup> token_tile: array<vec4<f32>, 256>; // [TERMS, TOKEN_QUADS], 4 neighbouring tokens

// 4 terms from `term` on, [row, term].
fn put_rows(four: mat4x4<f32>, term: u32, lane: u32) {
    let terms = transpose(four);
    for (var i = 0u; i < 4u; i += 1u) {
        row_tile[(term + i) * ROW_LANES + lane] = terms[i];
    }
}

// 4 terms from `term` on, [token, term].
fn put_tokens(four: mat4x4<f32>, term: u32, quad: u32) {
    let terms = transpose(four);
    for (var i = 0u; i < 4u; i += 1u) {
        token_tile[(term + i) * TOKEN_QUADS + quad] = terms[i];
    }
}

// Adds the products of what the workgroup's invocations have put into the tiles, which may be filled anew afterwards.
fn add_products(dots: Dots, local: u32) -> Dots {
    var sums = dots;
    let lane = local % ROW_LANES;
    let quad = 2u * (local / ROW_LANES);
    workgroupBarrier();
    for (var i = 0u; i < TERMS; i += 1u) {
        let rows = row_tile[i * ROW_LANES + lane];
        let first = token_tile[i * TOKEN_QUADS + quad];
        let second = token_tile[i * TOKEN_QUADS + quad + 1u];
        sums.first[0] += rows.x * first;
        sums.first[1] += rows.y * first;
        sums.first[2] += rows.z * first;
        sums.first[3] += rows.w * first;
        sums.second[0] += rows.x * second;
        sums.second[1] += rows.y * second;
        sums.second[2] += rows.z * second;
        sums.second[3] += rows.w * second;
    }
    workgroupBarrier();
    return sums;
}
