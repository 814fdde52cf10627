package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/tufops/tufops/internal/cli"
)

// In scripts tufops-sign-alone is the program where there is neither git nor a
// network: the kernel ends it when it starts a program or opens a socket that is
// not one of this machine. With the one argument dial it tries the latter.
func init() {
	programs["tufops-sign-alone"] = func() {
		if err := alone(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(9)
		}
		if len(os.Args) == 2 && os.Args[1] == "dial" {
			_, err := net.Dial("tcp", "127.0.0.1:9")
			fmt.Println("dialled", err)
			os.Exit(0)
		}
		os.Exit(cli.Main(run))
	}
}

// alone has the kernel refuse this process other programs and the network.
func alone() error {
	const (
		noNewPrivileges = 38 // prctl
		setFilter       = 1  // seccomp
		allThreads      = 1
		kill            = 0x80000000
		allow           = 0x7fff0000
		execveat        = 322
	)
	call, execveatNr := map[string]uintptr{"amd64": 317, "arm64": 277}[runtime.GOARCH], uint32(execveat)
	if runtime.GOARCH == "arm64" {
		execveatNr = 281
	}
	if call == 0 {
		return fmt.Errorf("what the kernel calls seccomp on %s is not known here", runtime.GOARCH)
	}
	os.Setenv("PATH", "/nonexistent")
	load := func(at uint32) syscall.SockFilter { return syscall.SockFilter{Code: 0x20, K: at} }
	equal := func(what uint32, yes, no uint8) syscall.SockFilter {
		return syscall.SockFilter{Code: 0x15, Jt: yes, Jf: no, K: what}
	}
	end := func(how uint32) syscall.SockFilter { return syscall.SockFilter{Code: 0x06, K: how} }
	filter := []syscall.SockFilter{
		load(0), // the number of the call
		equal(syscall.SYS_EXECVE, 5, 0),
		equal(execveatNr, 4, 0),
		equal(syscall.SYS_SOCKET, 0, 2),
		load(16), // its first argument
		equal(syscall.AF_UNIX, 0, 1),
		end(allow),
		end(kill),
	}
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, noNewPrivileges, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("prctl: %w", errno)
	}
	if _, _, errno := syscall.RawSyscall(call, setFilter, allThreads, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	runtime.KeepAlive(filter)
	return nil
}
