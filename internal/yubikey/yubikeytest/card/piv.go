package card

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"time"
)

// SP 800-78-4, table 6-2, and Yubico's values for AES.
const (
	alg3DES   = 0x03
	algAES128 = 0x08
	algAES192 = 0x0a
	algAES256 = 0x0c
	algP256   = 0x11
	algP384   = 0x14
)

const (
	slotManagement  = 0x9b
	SlotSignature   = 0x9c // where the key of a signer lives
	slotAttestation = 0xf9

	referencePIN = 0x80
	referencePUK = 0x81

	objectAttestation = 0x5fff01
	objectProtected   = 0x5fc109 // can be read only after the PIN
)

const (
	pinDefault, pinNever, pinOnce, pinAlways           = 0, 1, 2, 3
	touchDefault, touchNever, touchAlways, touchCached = 0, 1, 2, 3
)

var (
	aidPIV        = []byte{0xa0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00}
	aidManagement = []byte{0xa0, 0x00, 0x00, 0x05, 0x27, 0x47, 0x11, 0x17}
)

// execute carries out one whole command.
func (c *Card) execute(instruction, p1, p2 byte, data []byte, gone <-chan struct{}) ([]byte, status, error) {
	plain := func(answer []byte, s status) ([]byte, status, error) { return answer, s, nil }
	if instruction == 0xa4 {
		return plain(c.selectApplication(p1, data))
	}
	if c.session.app == management {
		if instruction == 0x1d {
			return plain(c.deviceInfo(), statusOK)
		}
		return plain(nil, statusUnknownInstruction)
	}
	if c.session.app != piv {
		return plain(nil, statusUnknownInstruction)
	}
	switch instruction {
	case 0x20:
		return plain(nil, c.verify(p1, p2, data))
	case 0x24:
		return plain(nil, c.changeReference(p1, p2, data))
	case 0x2c:
		return plain(nil, c.unblock(p1, p2, data))
	case 0x47:
		return plain(c.generate(p1, p2, data))
	case 0x87:
		if p2 == slotManagement {
			return plain(c.authenticate(p1, data))
		}
		return c.sign(p1, p2, data, gone)
	case 0xcb:
		return plain(c.getData(p1, p2, data))
	case 0xdb:
		return plain(nil, c.putData(p1, p2, data))
	case 0xf7:
		return plain(c.metadata(p1, p2))
	case 0xf8:
		return plain(binary.BigEndian.AppendUint32(nil, c.config.Serial), statusOK)
	case 0xf9:
		s := c.slots[p1]
		if p1 == slotAttestation || p2 != 0 || s == nil || s.imported {
			return plain(nil, statusWrongData)
		}
		cert, err := c.attest(p1, s)
		if err != nil {
			return nil, 0, err
		}
		return cert.Raw, statusOK, nil
	case 0xfa:
		if !c.session.managing || !c.session.pinVerified {
			return plain(nil, statusSecurity)
		}
		if p1 == 0 || p2 == 0 {
			return plain(nil, statusWrongParameters)
		}
		c.pin, c.puk = secret{FactoryPIN, int(p1), int(p1)}, secret{FactoryPUK, int(p2), int(p2)}
		return plain(nil, statusOK)
	case 0xfb:
		if c.pin.tries > 0 || c.puk.tries > 0 {
			return plain(nil, statusConditions)
		}
		c.reset()
		return plain(nil, statusOK)
	case 0xfd:
		return plain(c.config.Firmware[:], statusOK)
	case 0xfe:
		return plain(nil, c.importKey(p1, p2, data))
	case 0xff:
		return plain(nil, c.setManagementKey(p1, p2, data))
	}
	return plain(nil, statusUnknownInstruction)
}

// selectApplication takes the beginning of a name for the whole.
func (c *Card) selectApplication(p1 byte, aid []byte) ([]byte, status) {
	if p1 != 0x04 || len(aid) < 5 {
		return nil, statusNotFound
	}
	switch {
	case bytes.HasPrefix(aidPIV, aid):
		c.session = session{app: piv, touched: c.session.touched}
		return tlv(0x61, tlv(0x4f, aidPIV[5:]), tlv(0x79, tlv(0x4f, aidPIV[:5]))), statusOK
	case bytes.HasPrefix(aidManagement, aid):
		c.session = session{app: management, touched: c.session.touched}
		return []byte("Virtual mgr - FW version " + c.config.Firmware.String()), statusOK
	}
	return nil, statusNotFound
}

// deviceInfo answers to READ CONFIG.
//
// https://docs.yubico.com/yesdk/users-manual/application-management/apdu/get-device-info.html
func (c *Card) deviceInfo() []byte {
	var b []byte
	b = append(b, tlv(0x01, []byte{0x10})...) // PIV alone
	b = append(b, tlv(0x02, binary.BigEndian.AppendUint32(nil, c.config.Serial))...)
	b = append(b, tlv(0x03, []byte{0x10})...)
	b = append(b, tlv(0x04, []byte{c.config.FormFactor})...)
	b = append(b, tlv(0x05, c.config.Firmware[:])...)
	b = append(b, tlv(0x0a, []byte{0})...)
	return append([]byte{byte(len(b))}, b...)
}

// present compares a PIN or PUK, as it is padded on the wire, and counts.
func (s *secret) present(padded []byte) status {
	if s.tries == 0 {
		return statusBlocked
	}
	if !bytes.Equal(padded, pad(s.value)) {
		s.tries--
		return triesLeft(s.tries)
	}
	s.tries = s.max
	return statusOK
}

// replace sets a new value of six to eight characters.
func (s *secret) replace(padded []byte) status {
	value, padding, _ := bytes.Cut(padded, []byte{0xff})
	if len(value) < 6 || bytes.Count(padding, []byte{0xff}) != len(padding) {
		return statusWrongData
	}
	s.value, s.tries = string(value), s.max
	return statusOK
}

func pad(value string) []byte {
	return append([]byte(value), bytes.Repeat([]byte{0xff}, 8-len(value))...)
}

func (c *Card) verify(p1, p2 byte, data []byte) status {
	if p2 != referencePIN {
		return statusReferenceNotFound
	}
	switch {
	case p1 == 0xff && len(data) == 0:
		c.session.pinVerified, c.session.pinFresh = false, false
		return statusOK
	case p1 != 0:
		return statusWrongParameters
	case len(data) == 0 && c.session.pinVerified:
		return statusOK
	case len(data) == 0 && c.pin.tries == 0:
		return statusBlocked
	case len(data) == 0:
		return triesLeft(c.pin.tries)
	case len(data) != 8:
		return statusWrongData
	}
	s := c.pin.present(data)
	c.session.pinVerified, c.session.pinFresh = s == statusOK, s == statusOK
	return s
}

func (c *Card) changeReference(p1, p2 byte, data []byte) status {
	of, ok := map[byte]*secret{referencePIN: &c.pin, referencePUK: &c.puk}[p2]
	switch {
	case p1 != 0 || !ok:
		return statusWrongParameters
	case len(data) != 16:
		return statusWrongData
	}
	if s := of.present(data[:8]); s != statusOK {
		return s
	}
	return of.replace(data[8:])
}

func (c *Card) unblock(p1, p2 byte, data []byte) status {
	switch {
	case p1 != 0 || p2 != referencePIN:
		return statusWrongParameters
	case len(data) != 16:
		return statusWrongData
	}
	if s := c.puk.present(data[:8]); s != statusOK {
		return s
	}
	return c.pin.replace(data[8:])
}

func block(algorithm byte, key []byte) (cipher.Block, error) {
	if algorithm == alg3DES {
		return des.NewTripleDESCipher(key)
	}
	return aes.NewCipher(key)
}

// authenticate proves to both sides that the other has the management key: the
// card sends a secret under the key, and the host sends it back in clear along
// with a challenge of its own.
func (c *Card) authenticate(algorithm byte, data []byte) ([]byte, status) {
	outer, _, ok := takeTLV(data)
	if !ok || algorithm != c.manage.algorithm {
		return nil, statusWrongData
	}
	b, err := block(algorithm, c.manage.key)
	if err != nil {
		return nil, statusWrongData
	}
	fields := allTLV(outer.value)
	witness, given := fields[0x80]
	challenge := fields[0x81]
	encrypt := func(plain []byte) []byte {
		out := make([]byte, b.BlockSize())
		b.Encrypt(out, plain)
		return out
	}
	switch {
	case given && len(witness) == 0 && challenge == nil:
		c.session.witness = random(b.BlockSize())
		return tlv(0x7c, tlv(0x80, encrypt(c.session.witness))), statusOK
	case given && len(challenge) == b.BlockSize() && c.session.witness != nil:
		same := bytes.Equal(witness, c.session.witness)
		c.session.witness = nil
		if !same {
			return nil, statusSecurity
		}
		c.session.managing = true
		return tlv(0x7c, tlv(0x82, encrypt(challenge))), statusOK
	}
	return nil, statusWrongData
}

var managementKeyLength = map[byte]int{alg3DES: 24, algAES128: 16, algAES192: 24, algAES256: 32}

func (c *Card) setManagementKey(p1, p2 byte, data []byte) status {
	switch {
	case !c.session.managing:
		return statusSecurity
	case p1 != 0xff || p2 != 0xff && p2 != 0xfe:
		return statusWrongParameters
	case len(data) < 3 || data[1] != slotManagement || int(data[2]) != len(data)-3 || managementKeyLength[data[0]] != len(data)-3:
		return statusWrongData
	case data[0] != alg3DES && !c.config.Firmware.atLeast(5, 4):
		return statusWrongData
	}
	c.manage = managementKey{algorithm: data[0], key: bytes.Clone(data[3:]), touch: p2 == 0xfe}
	return statusOK
}

func curve(algorithm byte) elliptic.Curve {
	switch algorithm {
	case algP256:
		return elliptic.P256()
	case algP384:
		return elliptic.P384()
	}
	return nil
}

// policies reads what GENERATE and IMPORT may say of PIN and touch.
func policies(id byte, fields map[byte][]byte) (pin, touch byte, ok bool) {
	one := func(tag byte) (byte, bool) {
		v, has := fields[tag]
		if !has {
			return 0, true
		}
		return append(v, 0)[0], len(v) == 1 && v[0] <= 3
	}
	pin, okPIN := one(0xaa)
	touch, okTouch := one(0xab)
	if pin == pinDefault {
		pin = map[byte]byte{SlotSignature: pinAlways, 0x9e: pinNever}[id]
		if pin == 0 {
			pin = pinOnce
		}
	}
	if touch == touchDefault {
		touch = touchNever
	}
	return pin, touch, okPIN && okTouch
}

// keySlot reports whether a client may put a key there.
func keySlot(id byte) bool {
	return id >= 0x82 && id <= 0x95 || slices.Contains([]byte{0x9a, SlotSignature, 0x9d, 0x9e, slotAttestation}, id)
}

func (c *Card) generate(p1, id byte, data []byte) ([]byte, status) {
	template, _, ok := takeTLV(data)
	if !c.session.managing {
		return nil, statusSecurity
	}
	if p1 != 0 || !keySlot(id) {
		return nil, statusWrongParameters
	}
	if !ok || template.tag != 0xac {
		return nil, statusWrongData
	}
	fields := allTLV(template.value)
	algorithm := fields[0x80]
	pin, touch, ok := policies(id, fields)
	if !ok || len(algorithm) != 1 || curve(algorithm[0]) == nil {
		return nil, statusWrongData
	}
	key, err := ecdsa.GenerateKey(curve(algorithm[0]), rand.Reader)
	if err != nil {
		return nil, statusConditions
	}
	c.slots[id] = &slot{key: key, algorithm: algorithm[0], pin: pin, touch: touch}
	return append([]byte{0x7f}, tlv(0x49, point(key))...), statusOK
}

// point is a public key as the card writes it.
func point(key *ecdsa.PrivateKey) []byte {
	b, err := key.PublicKey.Bytes()
	if err != nil {
		return nil
	}
	return tlv(0x86, b)
}

func (c *Card) importKey(algorithm, id byte, data []byte) status {
	if !c.session.managing {
		return statusSecurity
	}
	fields := allTLV(data)
	pin, touch, ok := policies(id, fields)
	if !ok || !keySlot(id) || curve(algorithm) == nil {
		return statusWrongData
	}
	key, err := ecdsa.ParseRawPrivateKey(curve(algorithm), fields[0x06])
	if err != nil {
		return statusWrongData
	}
	c.slots[id] = &slot{key: key, algorithm: algorithm, pin: pin, touch: touch, imported: true}
	return statusOK
}

// sign is a private key in use. A missing PIN and a missing touch look the same
// to the host.
func (c *Card) sign(algorithm, id byte, data []byte, gone <-chan struct{}) ([]byte, status, error) {
	s := c.slots[id]
	outer, _, ok := takeTLV(data)
	if s == nil || !ok || outer.tag != 0x7c || s.algorithm != algorithm {
		return nil, statusWrongData, nil
	}
	fields := allTLV(outer.value)
	digest := fields[0x81]
	if v, has := fields[0x82]; !has || len(v) != 0 || len(digest) == 0 || len(digest) > (s.key.Params().BitSize+7)/8 {
		return nil, statusWrongData, nil
	}
	fresh := c.session.pinFresh
	c.session.pinFresh = false
	if s.pin == pinAlways && !fresh || s.pin == pinOnce && !c.session.pinVerified {
		return nil, statusSecurity, nil
	}
	if touched, err := c.touched(s.touch, gone); err != nil || !touched {
		return nil, statusSecurity, err
	}
	signature, err := ecdsa.SignASN1(rand.Reader, s.key, digest)
	if err != nil {
		return nil, statusWrongData, nil
	}
	return tlv(0x7c, tlv(0x82, signature)), statusOK, nil
}

// touched waits for a finger if the policy asks for one.
func (c *Card) touched(policy byte, gone <-chan struct{}) (bool, error) {
	const remembered = 15 * time.Second
	now := c.config.Clock()
	if policy == touchNever || policy == touchCached && !c.session.touched.IsZero() && now.Sub(c.session.touched) < remembered {
		return true, nil
	}
	if c.config.Touch != nil {
		answer := make(chan bool, 1)
		touch := c.config.Touch
		go func() { answer <- touch() }()
		select {
		case ok := <-answer:
			if !ok {
				return false, nil
			}
		case <-gone:
			return false, ErrUnplugged
		}
	}
	c.session.touched = c.config.Clock()
	return true, nil
}

func objectID(b []byte) (uint32, bool) {
	if len(b) != 3 {
		return 0, false
	}
	return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]), true
}

func (c *Card) getData(p1, p2 byte, data []byte) ([]byte, status) {
	tag, _, ok := takeTLV(data)
	if p1 != 0x3f || p2 != 0xff || !ok || tag.tag != 0x5c {
		return nil, statusWrongData
	}
	if len(tag.value) == 1 && tag.value[0] == 0x7e { // the discovery object
		return tlv(0x7e, tlv(0x4f, aidPIV), append([]byte{0x5f}, tlv(0x2f, []byte{0x40, 0x00})...)), statusOK
	}
	id, ok := objectID(tag.value)
	object := c.objects[id]
	switch {
	case !ok:
		return nil, statusNotFound
	case id == objectProtected && !c.session.pinVerified:
		return nil, statusSecurity
	case object == nil:
		return nil, statusNotFound
	}
	return tlv(0x53, object), statusOK
}

func (c *Card) putData(p1, p2 byte, data []byte) status {
	if !c.session.managing {
		return statusSecurity
	}
	tag, rest, ok := takeTLV(data)
	value, _, okValue := takeTLV(rest)
	id, okID := objectID(tag.value)
	if p1 != 0x3f || p2 != 0xff || !ok || !okValue || !okID || tag.tag != 0x5c || value.tag != 0x53 {
		return statusWrongData
	}
	if len(value.value) == 0 {
		delete(c.objects, id)
	} else {
		c.objects[id] = bytes.Clone(value.value)
	}
	return statusOK
}

// metadata came with firmware 5.3. The first field has to be the algorithm.
//
// https://docs.yubico.com/yesdk/users-manual/application-piv/apdu/metadata.html
func (c *Card) metadata(p1, id byte) ([]byte, status) {
	if p1 != 0 {
		return nil, statusWrongParameters
	}
	flag := func(is bool) []byte {
		if is {
			return []byte{1}
		}
		return []byte{0}
	}
	join := func(fields ...[]byte) ([]byte, status) { return slices.Concat(fields...), statusOK }
	secretOf := func(s secret, factory string) ([]byte, status) {
		return join(tlv(0x01, []byte{0xff}), tlv(0x05, flag(s.value == factory)), tlv(0x06, []byte{byte(s.max), byte(s.tries)}))
	}
	switch id {
	case referencePIN:
		return secretOf(c.pin, FactoryPIN)
	case referencePUK:
		return secretOf(c.puk, FactoryPUK)
	case slotManagement:
		touch := byte(touchNever)
		if c.manage.touch {
			touch = touchAlways
		}
		return join(tlv(0x01, []byte{c.manage.algorithm}), tlv(0x02, []byte{0, touch}), tlv(0x05, flag(bytes.Equal(c.manage.key, factoryManagementKey))))
	}
	s := c.slots[id]
	if s == nil {
		return nil, statusReferenceNotFound
	}
	origin := byte(1)
	if s.imported {
		origin = 2
	}
	return join(tlv(0x01, []byte{s.algorithm}), tlv(0x02, []byte{s.pin, s.touch}), tlv(0x03, []byte{origin}), tlv(0x04, point(s.key)))
}

// A field is a tag, a length and a value, as in BER.
type field struct {
	tag   byte
	value []byte
}

// tlv writes a field in the shortest form, which clients insist on.
func tlv(tag byte, values ...[]byte) []byte {
	value := slices.Concat(values...)
	b := []byte{tag}
	switch n := len(value); {
	case n < 0x80:
		b = append(b, byte(n))
	case n < 0x100:
		b = append(b, 0x81, byte(n))
	default:
		b = append(b, 0x82, byte(n>>8), byte(n))
	}
	return append(b, value...)
}

// takeTLV reads the first field of b.
func takeTLV(b []byte) (f field, rest []byte, ok bool) {
	if len(b) < 2 {
		return f, nil, false
	}
	f.tag = b[0]
	n, b := int(b[1]), b[2:]
	if n >= 0x80 {
		size := n & 0x7f
		if size < 1 || size > 2 || len(b) < size {
			return f, nil, false
		}
		n = 0
		for _, digit := range b[:size] {
			n = n<<8 | int(digit)
		}
		b = b[size:]
	}
	if len(b) < n {
		return f, nil, false
	}
	f.value = b[:n:n]
	return f, b[n:], true
}

// allTLV reads the fields of b by their tags, as far as they can be read.
func allTLV(b []byte) map[byte][]byte {
	fields := map[byte][]byte{}
	for {
		f, rest, ok := takeTLV(b)
		if !ok {
			return fields
		}
		fields[f.tag], b = f.value, rest
	}
}
