import Foundation

/// A JSON value, read as proto3 means it: what is absent is empty, zero, or false.
struct JSON: Sendable, Equatable {
    enum Content: Sendable, Equatable {
        case null
        case bool(Bool)
        case int(Int64)
        case double(Double)
        case string(String)
        case array([JSON])
        case object([String: JSON])
    }

    var value: Content

    init(_ value: Content) { self.value = value }

    /// Throws when the bytes are no JSON.
    init(_ data: Data) throws {
        self = try JSONDecoder().decode(JSON.self, from: data)
    }

    /// The bytes, with keys in order, so that equal values have equal bytes.
    var data: Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Strings, numbers and containers of them cannot fail to encode; a number
        // that JSON does not know (infinity) is never put in.
        return (try? encoder.encode(self)) ?? Data("null".utf8)
    }

    subscript(key: String) -> JSON {
        if case .object(let fields) = value, let field = fields[key] { return field }
        return JSON(.null)
    }

    var isNull: Bool { value == .null }

    var object: [String: JSON]? {
        if case .object(let fields) = value { return fields }
        return nil
    }

    var array: [JSON] {
        if case .array(let items) = value { return items }
        return []
    }

    var string: String {
        if case .string(let text) = value { return text }
        return ""
    }

    /// The text, or nil where there is none.
    var text: String? { string.isEmpty ? nil : string }

    var bool: Bool {
        switch value {
        case .bool(let flag): return flag
        case .int(let number): return number != 0
        case .double(let number): return number != 0
        default: return false
        }
    }

    /// A number; 64-bit ones are written as strings.
    var int: Int64 {
        switch value {
        case .int(let number): return number
        case .double(let number): return Int64(exactly: number.rounded()) ?? 0
        case .string(let text): return Int64(text) ?? 0
        default: return 0
        }
    }

    var double: Double {
        switch value {
        case .int(let number): return Double(number)
        case .double(let number): return number
        default: return 0
        }
    }

    var date: Date? { Date(rfc3339: string) }

    /// A duration as the API writes it: "1.5s".
    var seconds: TimeInterval? {
        string.hasSuffix("s") ? TimeInterval(string.dropLast()) : nil
    }

    /// One word of a closed set; words that this version does not know are the default.
    func word<Word: RawRepresentable>(or unknown: Word) -> Word where Word.RawValue == String {
        Word(rawValue: string) ?? unknown
    }

    /// The object with more fields, those that are not empty.
    func with(_ more: [String: JSON]) -> JSON {
        JSON.fields((object ?? [:]).merging(more) { $1 })
    }

    /// What is not nil or empty of the fields.
    static func fields(_ all: [String: JSON?]) -> JSON {
        JSON(.object(all.compactMapValues { field in
            guard let field, !field.isNull, field != "" else { return nil }
            return field
        }))
    }
}

extension JSON: Codable {
    init(from decoder: any Decoder) throws {
        let one = try decoder.singleValueContainer()
        // The most frequent first: each that does not fit costs an error.
        if one.decodeNil() {
            value = .null
        } else if let text = try? one.decode(String.self) {
            value = .string(text)
        } else if let flag = try? one.decode(Bool.self) {
            value = .bool(flag)
        } else if let number = try? one.decode(Int64.self) {
            value = .int(number)
        } else if let fields = try? one.decode([String: JSON].self) {
            value = .object(fields)
        } else if let items = try? one.decode([JSON].self) {
            value = .array(items)
        } else {
            value = .double(try one.decode(Double.self))
        }
    }

    func encode(to encoder: any Encoder) throws {
        var one = encoder.singleValueContainer()
        switch value {
        case .null: try one.encodeNil()
        case .bool(let flag): try one.encode(flag)
        case .int(let number): try one.encode(number)
        case .double(let number): try one.encode(number)
        case .string(let text): try one.encode(text)
        case .array(let items): try one.encode(items)
        case .object(let fields): try one.encode(fields)
        }
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral {
    init(stringLiteral text: String) { value = .string(text) }
    init(booleanLiteral flag: Bool) { value = .bool(flag) }
    init(arrayLiteral items: JSON...) { value = .array(items) }
    init(dictionaryLiteral fields: (String, JSON)...) {
        value = .object(Dictionary(fields, uniquingKeysWith: { _, last in last }))
    }

    init(_ text: String) { value = .string(text) }
    init(_ flag: Bool) { value = .bool(flag) }
    init(_ number: Int64) { value = .int(number) }
    init(_ date: Date) { value = .string(date.rfc3339) }
    init(bytes: Data) { value = .string(bytes.base64EncodedString()) }
}
