package metadata

// Verifications is how many signatures over d have been verified.
func (d *Document) Verifications() int { return len(d.verified.errs) }
