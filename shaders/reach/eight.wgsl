// Of an invocation in attention: eight keys, and 2 quads of a value's columns.
const BLOCKS = 2u;
const WIDE = 2u;
