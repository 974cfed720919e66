// Where a cache has a column of a position: a head's columns of all positions lie together, for that is how they are read.
override CONTEXT: u32; // positions
override TOGETHER: u32; // columns of a head; of a row where the cache has no heads

fn place(pos: u32, col: u32) -> u32 {
    return (col / TOGETHER * CONTEXT + pos) * TOGETHER + col % TOGETHER;
}
