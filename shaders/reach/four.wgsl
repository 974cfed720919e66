// Of an invocation in attention: four keys, and 1 quads of a value's columns.
const BLOCKS = 1u;
const WIDE = 1u;
