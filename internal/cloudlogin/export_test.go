package cloudlogin

// Pause is how long a Keys waits before it asks GitHub again.
var Pause = &pause
