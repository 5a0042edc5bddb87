// Package seal encrypts the text of a push for one phone, so that neither the
// push service nor anything on the way can read it, and opens it again.
//
// It is HPKE in base mode (RFC 9180) with one suite, which every phone's
// secure hardware has: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.
// info is [Info]. The sealed form is the standard alphabet's base64, with
// padding, of the encapsulated key (65 bytes) followed by the ciphertext.
//
// The ciphertext is bound to what it came with: delivery, incident, device,
// key and deadline are its additional data (see [Binding]), so that a sealed
// text cannot be moved to another push, or given another deadline.
//
// What is encrypted is the length of the text in two bytes, big endian, the
// text, and zeros up to the next multiple of [Step]: whoever sees the sealed
// form learns its length to the next 512 bytes and no more.
//
//	text := seal.Text{Title: "Critical: Checkout", Body: "disk full"}
//	sealed, err := seal.Seal(phone.SealKey, text.Encode(), binding)
//	…
//	plain, err := key.Open(sealed, binding)
//
// Everything in the package is safe for concurrent use.
package seal
