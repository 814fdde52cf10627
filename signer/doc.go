// Package signer is the human side of a signing event: what a person who holds
// a key sees, decides and signs.
//
// It owns the review ([Review]), the questions, the choice of the key, and the
// commits that a person makes: a new repository ([Init]), a changed role
// ([Delegate]), an accepted invitation and a signature ([Sign]), an adopted
// repository ([Import]). The edits themselves and the rules are those of package
// repository.
//
// It trusts the machine it runs on and nothing else: neither pull request texts
// nor commit statuses nor the user's checkout, but git objects that it fetches
// itself. It signs nothing that package repository has not reviewed, at exactly
// the commit that the person was shown. It reads no configuration that git
// tracks. Whatever comes from the branch is escaped before it is shown.
//
// It never touches the checkout, the index, the stash or the branch that is
// checked out. Fetched commits stand below refs/tufops/fetched/; a branch moves
// only at the end and by compare-and-swap, so a command that is stopped anywhere
// leaves at most git objects that nothing refers to.
//
// Only commands import the adapters of online keys and hardware keys; here they
// are [OnlineKeys], [Key] and [Tokens].
package signer
