//go:build cgo

package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

func init() {
	program := os.Getenv(aloneVariable)
	if program == "" {
		return
	}
	os.Unsetenv(aloneVariable)
	os.Setenv("PATH", "/nonexistent")
	fmt.Fprintln(os.Stderr, alone(program))
	os.Exit(9)
}

// alone becomes a program that the kernel keeps from starting others and from the
// network: whoever tries is killed. It returns only if that cannot be done.
func alone(program string) error {
	const (
		mapFixed, noNewPrivileges = 0x100000, 38 // mmap, prctl
		setFilter, allThreads     = 1, 1         // seccomp
		allow, kill               = 0x7fff0000, 0x80000000
		// Where the program's name stands in memory: it is by this that the kernel
		// knows the one start that is allowed. The program has nothing there.
		at = 0x2000_1234_5000
	)
	seccomp, execveat := map[string]uintptr{"amd64": 317, "arm64": 277}[runtime.GOARCH], uint32(322)
	if runtime.GOARCH == "arm64" {
		execveat = 281
	}
	if seccomp == 0 {
		return fmt.Errorf("what the kernel calls seccomp on %s is not known here", runtime.GOARCH)
	}
	name, err := os.CreateTemp("", "alone")
	if err != nil {
		return err
	}
	os.Remove(name.Name())
	if _, err := name.WriteString(program + "\x00"); err != nil {
		return err
	}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_MMAP, at, 4096, syscall.PROT_READ, syscall.MAP_PRIVATE|mapFixed, name.Fd(), 0); errno != 0 {
		return fmt.Errorf("mmap: %w", errno)
	}
	load := func(at uint32) syscall.SockFilter { return syscall.SockFilter{Code: 0x20, K: at} }
	equal := func(what uint32, yes, no uint8) syscall.SockFilter {
		return syscall.SockFilter{Code: 0x15, Jt: yes, Jf: no, K: what}
	}
	end := func(how uint32) syscall.SockFilter { return syscall.SockFilter{Code: 0x06, K: how} }
	filter := []syscall.SockFilter{
		load(0), // the number of the call
		equal(execveat, 8, 0),
		equal(syscall.SYS_EXECVE, 0, 3),
		load(16), // its first argument
		equal(at&0xffffffff, 0, 5),
		end(allow),
		equal(syscall.SYS_SOCKET, 0, 2),
		load(16),
		equal(syscall.AF_UNIX, 0, 1),
		end(allow),
		end(kill),
	}
	runtime.LockOSThread()
	rules := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, noNewPrivileges, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("prctl: %w", errno)
	}
	if _, _, errno := syscall.RawSyscall(seccomp, setFilter, allThreads, uintptr(unsafe.Pointer(&rules))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	runtime.KeepAlive(filter)
	if len(os.Args) == 2 && os.Args[1] == "dial" {
		_, err := net.Dial("tcp", "127.0.0.1:9")
		fmt.Println("dialled", err)
		os.Exit(0)
	}
	args, err := syscall.SlicePtrFromStrings(append([]string{program}, os.Args[1:]...))
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		return err
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE, at, uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&env[0])))
	return fmt.Errorf("start %s: %w", program, errno)
}
