package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tufops/tufops/internal/yubikey/yubikeytest"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/card"
	"github.com/tufops/tufops/internal/yubikey/yubikeytest/pcscd"
)

// sign measures how long a person waits, from the start of tufops-sign until it
// asks for the PIN: a clone of the corpus, an event that adds the person to those
// who sign root, and the person's token, in software. The question before the
// PIN is answered at once.
func (b *bench) sign(ctx context.Context) error {
	const event = "sign/bench"
	if b.noHardware != "" {
		fmt.Printf("\nfrom start to the PIN prompt: not measured, since %s\n", b.noHardware)
		return nil
	}
	work, err := os.MkdirTemp(b.dir, "sign-")
	if err != nil {
		return err
	}
	upstream := filepath.Join(work, "upstream.git")
	if _, err := output(ctx, "", b.git, "clone", "--quiet", "--bare", b.clone, upstream); err != nil {
		return err
	}
	daemon, err := pcscd.Start()
	if err != nil {
		return err
	}
	defer daemon.Close()
	ca, err := card.NewCA(0)
	if err != nil {
		return err
	}
	token, err := card.New(card.Config{Serial: 9000001, Firmware: card.Firmware571, CA: ca})
	if err != nil {
		return err
	}
	yubikeytest.Own(token)
	if err := errors.Join(token.SetKey(card.SlotSignature, big.NewInt(9000001)), daemon.Insert(token)); err != nil {
		return err
	}
	env := append(daemon.Environ(), "TUFOPS_NOW="+corpusNow, "XDG_STATE_HOME="+filepath.Join(work, "state"),
		"GIT_AUTHOR_NAME=Bench", "GIT_AUTHOR_EMAIL=bench@example.com", "GIT_COMMITTER_NAME=Bench", "GIT_COMMITTER_EMAIL=bench@example.com")
	clone := func(name string) (string, error) {
		dir := filepath.Join(work, name)
		if _, err := output(ctx, "", b.git, "clone", "--quiet", upstream, dir); err != nil {
			return "", err
		}
		settings := "[settings]\nuser-name = @" + name + "\npull-remote = origin\npush-remote = origin\nkey = yubikey\n"
		return dir, errors.Join(os.WriteFile(filepath.Join(dir, ".git", "info", "exclude"), []byte(".tufops-sign.ini\n"), 0o644),
			os.WriteFile(filepath.Join(dir, ".tufops-sign.ini"), []byte(settings), 0o600))
	}
	maintainer, err := clone("maintainer")
	if err != nil {
		return err
	}
	if _, err := program(ctx, maintainer, env, nil, b.tufopsSign, "delegate", event, "root", "--yes",
		"--signers", "@jku,@joshuagl,@kommendorkapten,@mnm678,@bench")(); err != nil {
		return err
	}
	dir, err := clone("bench")
	if err != nil {
		return err
	}
	prompt := &timing{run: func() (time.Duration, error) { return untilPIN(ctx, b.tufopsSign, dir, env, event) }}
	if err := interleave(ctx, b.rounds, prompt); err != nil {
		return err
	}
	const goal = 300 * time.Millisecond
	fmt.Printf("\nfrom start to the PIN prompt: %s on the corpus, invited to root\n", event)
	row("tufops-sign sign", prompt.median(), fmt.Sprintf("fastest run: %s, goal %s", milliseconds(prompt.fastest()), milliseconds(goal)))
	b.promises = append(b.promises, promise{"tufops-sign sign, from start to the PIN prompt", milliseconds(prompt.median()), milliseconds(goal), prompt.median() <= goal})
	return nil
}

// untilPIN runs the program until it asks for the PIN, and leaves it there. The
// time is that of the clock, as a person sees it.
func untilPIN(ctx context.Context, program, dir string, env []string, event string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, program, "sign", event)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, append(os.Environ(), env...), nil
	answers, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	told, err := cmd.StderrPipe()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer cmd.Wait()      // its status says that the PIN was not given
	defer answers.Close() // so it ends, and leaves nothing
	if _, err := io.WriteString(answers, "yes\n"); err != nil {
		return 0, err
	}
	var text strings.Builder
	for part := make([]byte, 4096); !strings.Contains(text.String(), "PIN of YubiKey"); {
		n, err := told.Read(part)
		if err != nil {
			return 0, fmt.Errorf("tufops-sign sign %s ends before it asks for the PIN: %w\n%s", event, err, text.String())
		}
		text.Write(part[:n])
	}
	return time.Since(start), nil
}
