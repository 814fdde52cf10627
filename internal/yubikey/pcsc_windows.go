package yubikey

// canExchange reports whether this system has exchange.
const canExchange = false

// exchange is for systems with PC/SC-lite or its like.
func exchange(string, ...[]byte) ([][]byte, error) { return nil, ErrNoSupport }
