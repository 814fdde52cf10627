package github

// CompareURL is the page on which people open a pull request from one branch
// into another.
func (f *Forge) CompareURL(base, branch string) string {
	u := *f.server
	u.Path += "/" + f.owner + "/" + f.name + "/compare/" + base + "..." + branch // escaped by String
	u.RawQuery = "expand=1"
	return u.String()
}
