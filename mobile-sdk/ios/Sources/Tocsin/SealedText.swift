import Foundation

/// What a page says to its owner alone; it came encrypted.
public struct SealedText: Sendable, Equatable {
    /// An address that the server's configuration allows apps to open.
    public struct Link: Sendable, Equatable {
        public let text: String
        public let url: URL
    }

    public let title: String
    public let subtitle: String
    public let body: String
    public let severity: String
    public let links: [Link]
    public let details: [String: String]
    let actionToken: String

    init(_ json: JSON) {
        title = json["title"].string
        subtitle = json["subtitle"].string
        body = json["body"].string
        severity = json["s"].string
        details = (json["m"].object ?? [:]).mapValues(\.string)
        actionToken = json["a"].string
        links = json["links"].array.compactMap { link in
            guard let url = URL(string: link["url"].string), url.scheme?.lowercased() == "https", url.user == nil, url.host != nil else { return nil }
            return Link(text: link["text"].string, url: url)
        }
    }
}

/// What binds a sealed text to its push, so that it opens in no other.
struct SealBinding: Sendable {
    var delivery: String
    var incident: String
    var device: String
    var key: String
    /// Unix seconds.
    var deadline: Int64

    /// Each field with its length before it, four bytes, big endian.
    var bytes: Data {
        var all = Data()
        for field in [delivery, incident, device, key, String(deadline)] {
            withUnsafeBytes(of: UInt32(field.utf8.count).bigEndian) { all.append(contentsOf: $0) }
            all.append(contentsOf: field.utf8)
        }
        return all
    }
}

/// A key that pages are sealed for.
struct SealKey: Codable, Sendable, Equatable {
    /// The app's own name for it.
    var id: String
    /// The scalar, 32 bytes.
    var privateKey: Data

    private static let info = Data("tocsin-push-v1".utf8)

    /// Opens `e` of a push.
    ///
    /// - Returns: the bytes that were sealed.
    func open(_ sealed: String, _ binding: SealBinding, _ crypto: any Crypto) throws -> Data {
        guard let message = Data(base64Encoded: sealed) else { throw SealError() }
        let padded = try HPKE(crypto: crypto).open(message, privateKey: privateKey, info: Self.info, authenticating: binding.bytes)
        guard padded.count >= 2, padded.count % 512 == 0 else { throw SealError() }
        let bytes = [UInt8](padded)
        let count = Int(bytes[0]) << 8 | Int(bytes[1])
        guard count + 2 <= bytes.count else { throw SealError() }
        return Data(bytes[2..<2 + count])
    }
}

/// The phone's keys for sealed texts: the one in use, and the one before for as long as a page lives.
struct SealKeys: Sendable {
    let secrets: any Secrets
    let crypto: any Crypto
    let system: SystemClock

    static let record = "seal-keys"
    private static let overlap: TimeInterval = 3_600

    private struct Ring: Codable {
        var current: SealKey
        var former: SealKey?
        /// When the current one was made, by the phone's clock.
        var made: Date
    }

    /// The key in use and its public half; made where there is none.
    func current() throws -> (id: String, publicKey: Data) {
        let key = try ring()?.current ?? rotate()
        return (key.id, try crypto.publicKey(of: key.privateKey))
    }

    /// Makes a new key and keeps the one before for an hour.
    @discardableResult
    func rotate() throws -> SealKey {
        let before = try ring()
        let key = SealKey(id: String(UUID().uuidString.lowercased().prefix(8)), privateKey: try crypto.makeKey())
        let ring = Ring(current: key, former: before?.current, made: system.now())
        try secrets.write(try JSONEncoder().encode(ring), to: Self.record)
        return key
    }

    func forget() throws {
        try secrets.remove(Self.record)
    }

    /// What came of opening a push.
    enum Opening: Sendable, Equatable {
        /// Nothing was sealed.
        case clear
        case opened(SealedText)
        /// Not before the first unlock.
        case locked
        /// It does not open: the receipt says so, and the server asks for another key.
        case failed
    }

    func open(_ push: Push, device: String) -> Opening {
        guard !push.sealed.isEmpty else { return .clear }
        let binding = SealBinding(
            delivery: push.deliveryID, incident: push.incidentID, device: device, key: push.sealedKey,
            deadline: Int64(push.expires?.timeIntervalSince1970 ?? 0))
        do {
            guard let key = try key(push.sealedKey) else { return .failed }
            let text = try JSON(try key.open(push.sealed, binding, crypto))
            return text.object == nil ? .failed : .opened(SealedText(text))
        } catch is SecretsLocked {
            return .locked
        } catch {
            return .failed
        }
    }

    func key(_ id: String) throws -> SealKey? {
        guard let ring = try ring() else { return nil }
        if ring.current.id == id { return ring.current }
        let age = system.now().timeIntervalSince(ring.made)
        guard let former = ring.former, former.id == id, age < Self.overlap else { return nil }
        return former
    }

    private func ring() throws -> Ring? {
        guard let record = try secrets.read(Self.record) else { return nil }
        return try JSONDecoder().decode(Ring.self, from: record)
    }
}
