// Of an invocation in attention: sixteen keys, and 4 quads of a value's columns.
const BLOCKS = 4u;
const WIDE = 4u;
