import ArgumentParser
import Release

/// What every verb takes.
struct CommonOptions: ParsableArguments {
    @Flag(help: "After a failure, show the whole chain of its causes.") var verbose = false
}

/// How a verb prints its result.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case text
    case json
}

extension ImageVersion {
    /// The value of the option `name`, each once where it may be given several times.
    static func all(_ texts: [String], of name: String) throws -> [ImageVersion] {
        var versions: [ImageVersion] = []
        for text in texts {
            do throws(ReleaseFault) {
                let version = try ImageVersion(text)
                if !versions.contains(version) { versions.append(version) }
            } catch {
                throw ValidationError("\(name): \(error)")
            }
        }
        return versions
    }
}
