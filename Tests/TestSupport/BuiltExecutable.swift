import Fault
import FileIO
public import SystemPackage

/// The executables of this package, as the build left them.
public enum BuiltExecutable {
    /// The executable `name`: beside the tests' own, since both come from one build.
    public static func path(_ name: String) throws -> FilePath {
        let own = try FilePath("/proc/self/exe").symbolicLinkTarget()
        let repository = FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()
        // The test runner may be the toolchain's own, so that the build directory is looked at too.
        for directory in [FilePath(own).removingLastComponent(), repository.appending(".build/release")]
        where directory.appending(name).exists {
            return directory.appending(name)
        }
        throw FileIOFault(.notFound, "build the executables first: swift build -c release", at: .path(name))
    }
}
