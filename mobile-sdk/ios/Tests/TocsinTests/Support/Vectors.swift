import Foundation

import Testing

@testable import Tocsin

/// The vectors that all libraries share: mobile-sdk/vectors.
enum Vectors {
    private static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("vectors")

    static func cases(_ file: String, where key: String, is value: JSON) -> [Vector] {
        cases(file).filter { $0[key] == value }
    }

    static func cases(_ file: String) -> [Vector] {
        guard let bytes = try? Data(contentsOf: folder.appendingPathComponent(file)), let json = try? JSON(bytes) else {
            fatalError("there are no vectors in \(folder.path)/\(file)")
        }
        return json["cases"].array.map { Vector(json: $0) }
    }
}

/// One case of a file of vectors.
struct Vector: Sendable, CustomTestStringConvertible {
    let json: JSON

    var name: String { json["name"].string }
    var testDescription: String { name }

    subscript(key: String) -> JSON { json[key] }
}
