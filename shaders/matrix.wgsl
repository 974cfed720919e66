// Shape of the bound weight matrix [ROWS, COLS], which may be a part, or a stack, of the model's.
override ROWS: u32;
override COLS: u32;
// A unit is 8 weights of a row: what a format unpacks at a time. The last one may be incomplete.
override UNITS: u32 = (COLS + 7u) / 8u;
// A group is 32 weights of a row, 4 units: what has a scale to itself, at the finest.
override GROUPS: u32 = (UNITS + 3u) / 4u;
