// Package auth says who is calling, and whether they may.
//
// It has four parts, which share the master key and nothing else:
//
//   - [Keyring] and [Sealer]: the master key, and secrets at rest under it.
//   - [Authenticator]: a credential of a request becomes a [Principal]. Keys,
//     tokens and device credentials are compared by their SHA-256; the text is
//     shown once when it is made and kept nowhere.
//   - [Authorizer]: one table says for every method of the API who may call it.
//   - [Signer]: action tokens and receipt keys, which travel in a push and are
//     good for one delivery on one device.
//
// All types are safe for concurrent use. The package keeps no state: what is
// known of people, tokens and devices is asked of a [Book], which the directory is.
package auth
