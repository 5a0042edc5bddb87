import Foundation

/// One server-sent event.
struct ServerEvent: Sendable, Equatable {
    /// The last id that was said, also of an earlier event; "" for none yet.
    var id: String
    /// "message" where the server does not say.
    var name: String
    var data: String
}

/// Reads server-sent events out of bytes that come in pieces of any size.
/// https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
struct EventParser: Sendable {
    private var line: [UInt8] = []
    private var afterReturn = false
    private var begun = false
    private var id = ""
    private var name = ""
    private var data: [String] = []

    /// Longer lines are cut off there; their event then fails as JSON.
    private static let longestLine = 4 << 20

    /// The events that end within these bytes.
    mutating func read(_ bytes: Data) -> [ServerEvent] {
        var events: [ServerEvent] = []
        for byte in bytes {
            let endsReturn = afterReturn
            afterReturn = byte == 0x0D
            switch byte {
            case 0x0A where endsReturn: continue // the second half of CR LF
            case 0x0A, 0x0D:
                if let event = endOfLine() { events.append(event) }
            default:
                if line.count < Self.longestLine { line.append(byte) }
            }
        }
        return events
    }

    private mutating func endOfLine() -> ServerEvent? {
        var text = String(decoding: line, as: UTF8.self)
        line.removeAll(keepingCapacity: true)
        if !begun {
            begun = true
            if text.hasPrefix("\u{FEFF}") { text.removeFirst() }
        }
        if text.isEmpty { return dispatch() }
        var field = Substring(text)
        var value = Substring()
        if let colon = text.firstIndex(of: ":") {
            field = text[..<colon]
            value = text[text.index(after: colon)...]
            if value.first == " " { value.removeFirst() }
        }
        switch field {
        case "event": name = String(value)
        case "data": data.append(String(value))
        case "id" where !value.contains("\0"): id = String(value)
        default: break // comments, retry, and what is not known
        }
        return nil
    }

    private mutating func dispatch() -> ServerEvent? {
        defer {
            name = ""
            data.removeAll()
        }
        guard !data.isEmpty else { return nil }
        return ServerEvent(id: id, name: name.isEmpty ? "message" : name, data: data.joined(separator: "\n"))
    }
}
