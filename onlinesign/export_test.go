package onlinesign

// Prepare is a run without the branch and the commit: what is due at a commit of
// main, signed.
var Prepare = prepare
