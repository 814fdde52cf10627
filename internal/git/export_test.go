package git

// ReadAtMost is ReadObjects of so many objects.
var ReadAtMost = readObjects
