// Layout of the buffer of tokens grouped by expert. A place is token * TOP_K + i, the i-th expert of a token.
//   [0, N_EXPERTS]          expert e has places order[first[e]] .. order[first[e + 1]]
//   [ORDER, + CHUNK * TOP_K]  places, expert by expert
//   [BLOCKS, + 2 * blocks]    for each block of BLOCK places: its expert, its first entry in order
// Blocks past the last have the expert N_EXPERTS.
override N_EXPERTS: u32;
override TOP_K: u32;
override CHUNK: u32;
override BLOCK: u32; // places of one expert that a workgroup takes
override ORDER: u32 = N_EXPERTS + 1u;
override BLOCKS: u32 = ORDER + CHUNK * TOP_K;
