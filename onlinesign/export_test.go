package onlinesign

// SignAt is a run without the branch: what is due at a commit, signed in one commit
// on top of it, which nothing refers to yet.
var SignAt = sign
