import Foundation

/// Whose phone it is, since it was enrolled.
public struct Session: Sendable, Equatable, Codable {
    /// Where the server is: that of the link, and no other.
    public let server: URL
    /// `devices/{device}`.
    public let device: String
    /// `users/{user}`.
    public let user: String
    /// The person's name.
    public let person: String
    /// The name of the installation.
    public let organization: String

    /// The device's id, as pushes and seals name it.
    var deviceID: String { String(device.split(separator: "/").last ?? "") }
}

/// The session and its credential, and calls in their name.
struct Account: Sendable {
    let gateway: Gateway
    let storage: any Storage
    let secrets: any Secrets
    let signedOut = Broadcast<PhoneError>()

    private static let session = "session"
    private static let credential = "credential"
    private static let install = "install"
    static let unlockKey = "unlock-key"

    var session: Session? {
        guard let record = try? storage.read(Self.session) else { return nil }
        return try? JSONDecoder().decode(Session.self, from: record)
    }

    /// Whether nobody is signed in, for sure: a disk that cannot be read does not say so.
    var isNobodys: Bool {
        do { return try storage.read(Self.session) == nil } catch { return false }
    }

    func credential() throws(PhoneError) -> String {
        do {
            guard session != nil, let secret = try secrets.read(Self.credential) else { throw PhoneError.nobody }
            return String(decoding: secret, as: UTF8.self)
        } catch is SecretsLocked {
            throw PhoneError(.unlock, PhoneError.locked, "keys cannot be read before the phone is unlocked for the first time")
        } catch {
            throw .stored(error, "read the credential")
        }
    }

    /// The id of this installation, made at its first use.
    func installID() throws(PhoneError) -> String {
        do {
            if let known = try storage.read(Self.install) { return String(decoding: known, as: UTF8.self) }
            let id = UUID().uuidString.lowercased()
            try storage.write(Data(id.utf8), to: Self.install)
            return id
        } catch {
            throw .stored(error, "keep the id of this installation")
        }
    }

    /// Throws unless there is room for what enrolling leaves behind. A link is
    /// good for one use: better to find out before than after.
    func prepare() throws(PhoneError) {
        do {
            try storage.write(Data(repeating: 0x20, count: 4_096), to: Self.session + "-room")
            try storage.remove(Self.session + "-room")
            try secrets.write(Data("probe".utf8), to: Self.credential + "-room")
            try secrets.remove(Self.credential + "-room")
        } catch is SecretsLocked {
            throw PhoneError(.unlock, PhoneError.locked, "keys cannot be kept before the phone is unlocked for the first time")
        } catch {
            throw .stored(error, "make room for the credential")
        }
    }

    func keep(_ session: Session, credential: String) throws(PhoneError) {
        do {
            try secrets.write(Data(credential.utf8), to: Self.credential)
            try storage.write(try JSONEncoder().encode(session), to: Self.session)
        } catch {
            throw .stored(error, "keep the credential")
        }
    }

    /// Calls with the device's credential. When the server says that it is gone,
    /// it is forgotten, with everything that belongs to it.
    func call(_ call: Call) async throws(PhoneError) -> JSON {
        let credential = try credential()
        guard let server = session?.server else { throw .nobody }
        var call = call
        call.bearer = credential
        do throws(PhoneError) {
            return try await gateway.answer(call, at: server)
        } catch {
            refused(error, credential)
            throw error
        }
    }

    /// Forgets the credential that was refused, unless another has taken its place.
    func refused(_ error: PhoneError, _ credential: String) {
        guard error.reason == "CREDENTIAL_INVALID", (try? self.credential()) == credential else { return }
        forget(because: error)
    }

    /// Forgets all but the id of the installation.
    func forget(because error: PhoneError) {
        // The session goes first: without it nothing else is used, whatever fails below.
        try? storage.remove(Self.session)
        for secret in [Self.credential, SealKeys.record, Self.unlockKey] { try? secrets.remove(secret) }
        for name in ((try? storage.names(beginning: "")) ?? [:]).keys where name != Self.install && name != ServerClock.record {
            try? storage.remove(name)
        }
        signedOut.send(error)
    }
}

/// Tells everybody who listens.
final class Broadcast<Element: Sendable>: Sendable {
    private let listeners = Locked<[UUID: AsyncStream<Element>.Continuation]>([:])

    // Who listens would wait for ever.
    deinit {
        for listener in listeners.with({ Array($0.values) }) { listener.finish() }
    }

    func send(_ element: Element) {
        for listener in listeners.with({ Array($0.values) }) { listener.yield(element) }
    }

    /// What is said from now on.
    var stream: AsyncStream<Element> {
        AsyncStream { continuation in
            let id = UUID()
            listeners.with { $0[id] = continuation }
            continuation.onTermination = { [weak self] _ in
                self?.listeners.with { _ = $0.removeValue(forKey: id) }
            }
        }
    }
}
