// Package githubtest is a GitHub of one repository, for tests: a server with
// state, over a real bare git repository. It speaks as much of GitHub's REST and
// GraphQL as a bot needs that keeps pull requests, and answers mistakes with the
// status and the words that GitHub uses.
//
// It owns the pull requests, issues, comments, statuses and dispatches, all in
// memory. Branches it does not own: what the bare repository says when a request
// arrives is how it is, so a push to it, by a test or by a program under test,
// moves, merges and closes pull requests as on GitHub. It listens on loopback,
// and serves git over the file path only.
//
// A test may play every part beside the bot's: people ([Server.Comment],
// [Server.Merge], [Server.ClosePull]), a failing network ([Server.Inject]),
// and two runs at the same time ([Server.Interleave]). It asserts on what became
// of the state ([Server.Pulls], [Server.Statuses]), and may count requests
// ([Server.Requests]).
//
// It is not GitHub. What it believes about GitHub is held against GitHub's own
// description where that is at hand ([Schemas]): every request that a test
// sends and every answer. What no schema says, such as who may do what, is from
// GitHub's documentation and from what people report.
package githubtest
