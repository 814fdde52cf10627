//go:build !linux

package vpcd

import (
	"net"
	"syscall"
)

// endWithParent is for Linux.
func endWithParent() *syscall.SysProcAttr { return nil }

// prompt is for Linux.
func prompt(*net.TCPConn) {}
