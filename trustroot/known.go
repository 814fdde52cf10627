package trustroot

import "strings"

const (
	production = "production"
	staging    = "staging"
)

// A home is the public instance and the service that a key belongs to.
type home struct{ environment, service string }

// knownKeys are the SHA-256 of keys (as SPKI) and certificates of the public
// instances.
var knownKeys = map[string]home{
	"dd3d306ac6c7113263191e1c99673702a24a5eb8de3cadff878a72802f29ee8e": {production, "https://ctfe.sigstore.dev/2022"},
	"086092f02852ff6845d1d16b27849c456718ac163dc338d26de6bc2206366f72": {production, "https://ctfe.sigstore.dev/test"},
	"03a38ffb1f450100c2596d1d10b900ac4d504058006dda58199576bbeb9c73d0": {production, "https://fulcio.sigstore.dev"},
	"15d795348226b4649f750f5802592c393bee7cc53c3b86982175b7ad087efe47": {production, "https://fulcio.sigstore.dev"},
	"3ba7b6cc4e95469d4d334b49cb257ad8537076fa84b0ca87ff4ecfe6a54680c1": {production, "https://fulcio.sigstore.dev"},
	"c0d23d6ad406973f9559f3ba2d1ca01f84147d8ffc5b8445c224f98b9591801d": {production, "https://rekor.sigstore.dev"},
	"2aca8fea5d3ce48b01cc77076293c280e6c23ffe44034757ee7833ca9f45d633": {production, "https://timestamp.sigstore.dev"},
	"85f927bc07ab62cac3b44356c10efc81b2c6883fda7ab9e6d870d9d13acd05b7": {production, "https://timestamp.sigstore.dev"},
	"fbe24a38c42ded2277ca75079c27e70e170a3fcff9f09e13b9e32a5ee9371e60": {staging, "https://ctfe.sigstage.dev/2022"},
	"2b30bcdc6888c9e2e1d826295e741f4839319602f29c33cb5e4340feb2ac867a": {staging, "https://ctfe.sigstage.dev/2022-2"},
	"1b7c142a4e992ba7df1e1fc5742454136c157a4cb31c4108a521b8b1abe7bf4c": {staging, "https://ctfe.sigstage.dev/test"},
	"3149dfe2b1ca9e767ae43ea2c8f8fcf05cb2439cdd9efe551d0c060a3e38cf7a": {staging, "https://fulcio.sigstage.dev"},
	"66e08b3881fc311194779aeaad11b70677c316985bf847b6ca2c83d8c5700565": {staging, "https://fulcio.sigstage.dev"},
	"bca21d3cc62c9d6a52be9989e6a705f99e91a39d9114890990789ef75d382b39": {staging, "https://fulcio.sigstage.dev"},
	"d1d5b2d3b62517917e190ee3aab2987871ae4297b7502e71798121e8106b4486": {staging, "https://fulcio.sigstage.dev"},
	"47272b9d3ff5d56435e49b6005779854b94560cb5b0246bbf899f151068e5f91": {staging, "https://log2025-alpha1.rekor.sigstage.dev"},
	"f37f35731473d127b9d0b713487b6bc5cdbf09ad6dbf7f18275dd99d581acbd0": {staging, "https://log2025-alpha2.rekor.sigstage.dev"},
	"9e726df557204758444913f8a1e9018cfcb29e7813c708fb8583e6aca8f218ea": {staging, "https://log2025-alpha3.rekor.sigstage.dev"},
	"3e607153746e1892e090b236b14976272f67b44d6f92ce6f77114ab722a0a6b6": {staging, "https://log2026-1.ctfe.sigstage.dev"},
	"1638fb664e48d34e2799bf37594c876ac68232850ee1fb939c5c9bb52c5ebc87": {staging, "https://log2026-1.us-east4.ctfe.sigstage.dev"},
	"84b0ee123be44bdc791dd337ad15713fee1e41c113ed7ea5863173c2115ec0f1": {staging, "https://log2026-1.us-east4.rekor.sigstage.dev"},
	"d32f30a3c32d639c2b762205a21c7bb07788e68283a4ae6f42118723a1bea496": {staging, "https://rekor.sigstage.dev"},
	"06f4ffe047feb35999b733b0d7a323501cfc18e4c03366a845d77536e74b2744": {staging, "https://timestamp.sigstage.dev/api/v1/timestamp"},
	"81d9ef485ec4572a6511d2d99aca787e0e9b331383454c94f8d678c246a35acc": {staging, "https://timestamp.sigstage.dev/api/v1/timestamp"},
	"92668a86002c8bd81ac7fa5fc775642d9150052b7b2f1817d1d75a1f8f1ff1b0": {staging, "https://timestamp.sigstage.dev/api/v1/timestamp"},
	"bf5b8b5d5367c0424e88bf2ed8315ec783edadb3c98627ffa9e3f285615c1df2": {staging, "https://timestamp.sigstage.dev/api/v1/timestamp"},
}

// environmentOf tells by a host which public instance it belongs to.
func environmentOf(host string) string {
	switch {
	case strings.HasSuffix(host, ".sigstore.dev"):
		return production
	case strings.HasSuffix(host, ".sigstage.dev"):
		return staging
	}
	return ""
}

// known says where the key or the certificates of the entry belong, as far as
// they are known.
func (e Entry) known() []home {
	var list []home
	if e.isLog() {
		if h, ok := knownKeys[e.ID]; ok {
			list = append(list, h)
		}
	}
	for _, c := range e.Chain {
		if h, ok := knownKeys[fingerprint(c.Raw)]; ok {
			list = append(list, h)
		}
	}
	return list
}

// environment is the public instance that most entries belong to, by their keys
// or, where none is known, by their hosts; "" where it is another instance.
func (d *Document) environment() string {
	keys, hosts := map[string]int{}, map[string]int{}
	for _, e := range d.Entries {
		for _, h := range e.known()[:min(1, len(e.known()))] {
			keys[h.environment]++
		}
		if env := environmentOf(host(e.URL)); env != "" {
			hosts[env]++
		}
	}
	for _, votes := range []map[string]int{keys, hosts} {
		switch p, s := votes[production], votes[staging]; {
		case p > s:
			return production
		case s > p:
			return staging
		}
	}
	return ""
}
