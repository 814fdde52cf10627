package publish

import "context"

// Facts are what index.html shows.
func (t *Tree) Facts() Status { return t.status }

// RehearseInOrder rehearses a plan whose files stand in another order than ours.
func RehearseInOrder(ctx context.Context, o Options, reorder func([]File)) error {
	published, err := o.Publishable.For(o.Commit)
	if err != nil {
		return err
	}
	tree, err := NewTree(ctx, published, nil)
	if err != nil {
		return err
	}
	p := (&runner{options: o, tree: tree}).publisher(o.To[0])
	l, err := p.look(ctx)
	if err == nil {
		err = p.examine(ctx, l)
	}
	if err != nil {
		return err
	}
	pl, err := p.plan(l)
	if err != nil {
		return err
	}
	reorder(pl.files)
	pl.window = false
	return p.rehearse(ctx, l, pl)
}
