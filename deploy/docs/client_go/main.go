// The Go client's documentation, out of its doc comments: `main.go CLIENT FOLDER`. What CLIENT exports without a comment, fields too, is named, and fails.
//
// A page for each package, as go doc tells them: by the standard library's go/doc alone.
package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/format"
	"go/parser"
	"go/token"
	"html/template"
	"log"
	"os"
	"path/filepath"
	"strings"
)

// module is what the client's go.mod calls it.
const module = "penstock.dev/client"

// contracts is the package that is generated: what proto/ says of them is checked there.
const contracts = "penstockpb"

//go:embed page.html
var page string

// reference is what is said of one package.
type reference struct {
	*doc.Package
	files *token.FileSet
}

// entry is a declaration and what is said of it: of a type or a function, which has a Name, or of a group of Values.
type entry struct {
	Name   string
	Values []string
	Decl   ast.Decl
	Doc    string
}

func read(client, folder string) (*reference, error) {
	files := token.NewFileSet()
	paths, err := filepath.Glob(filepath.Join(client, folder, "*.go"))
	if err != nil {
		return nil, err
	}
	var parsed []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, file)
	}
	found, err := doc.NewFromFiles(files, parsed, strings.TrimSuffix(module+"/"+folder, "/"))
	return &reference{found, files}, err
}

// Entries are all that it declares, in the order of the page.
func (p *reference) Entries() (all []entry) {
	values := func(groups []*doc.Value) {
		for _, group := range groups {
			all = append(all, entry{Values: group.Names, Decl: group.Decl, Doc: group.Doc})
		}
	}
	functions := func(of string, them []*doc.Func) {
		for _, function := range them {
			all = append(all, entry{Name: of + function.Name, Decl: function.Decl, Doc: function.Doc})
		}
	}
	values(p.Consts)
	values(p.Vars)
	functions("", p.Funcs)
	for _, kind := range p.Types {
		all = append(all, entry{Name: kind.Name, Decl: kind.Decl, Doc: kind.Doc})
		values(kind.Consts)
		values(kind.Vars)
		functions("", kind.Funcs)
		functions(kind.Name+".", kind.Methods)
	}
	return all
}

// HTML is a comment's, whose links lead to other places of the page, to the other page, or to where Go's packages are explained.
func (p *reference) HTML(text string) template.HTML {
	printer := p.Printer()
	printer.HeadingLevel = 4
	printer.DocLinkURL = func(link *comment.DocLink) string {
		if link.ImportPath == module+"/"+contracts {
			return contracts + ".html#" + link.Name
		}
		return link.DefaultURL("https://pkg.go.dev/")
	}
	return template.HTML(printer.HTML(p.Parser().Parse(text)))
}

// Code is a declaration as gofmt writes it, without the comment that stands before it and without a function's body.
func (p *reference) Code(decl ast.Decl) (string, error) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		decl.Doc, decl.Body = nil, nil
	case *ast.GenDecl:
		decl.Doc = nil
	}
	var text bytes.Buffer
	err := format.Node(&text, p.files, decl)
	return text.String(), err
}

// missing is what of the package is exported and not explained.
func (p *reference) missing() (names []string) {
	at := func(place token.Pos, name string, said ...string) {
		if strings.Join(said, "") == "" {
			where := p.files.Position(place)
			names = append(names, fmt.Sprintf("%s:%d: %s has no comment", where.Filename, where.Line, name))
		}
	}
	at(token.NoPos, p.Name, p.Doc)
	for _, entry := range p.Entries() {
		if entry.Name != "" {
			at(entry.Decl.Pos(), entry.Name, entry.Doc)
		}
		// What isn't exported was taken away, and what is embedded is explained where it is from.
		fields := func(list *ast.FieldList) {
			for _, field := range list.List {
				if len(field.Names) > 0 {
					at(field.Pos(), entry.Name+"."+field.Names[0].Name, field.Doc.Text(), field.Comment.Text())
				}
			}
		}
		ast.Inspect(entry.Decl, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.ValueSpec:
				at(node.Pos(), node.Names[0].Name, entry.Doc, node.Doc.Text(), node.Comment.Text())
			case *ast.StructType:
				fields(node.Fields)
			case *ast.InterfaceType:
				fields(node.Methods)
			}
			return true
		})
	}
	return names
}

func main() {
	log.SetFlags(0)
	client, folder := os.Args[1], os.Args[2]
	layout := template.Must(template.New("page").Parse(page))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"", contracts} {
		made, err := read(client, name)
		if err != nil {
			log.Fatal(err)
		}
		if missing := made.missing(); name != contracts && len(missing) > 0 {
			log.Fatal(strings.Join(missing, "\n"))
		}
		var text bytes.Buffer
		if err := layout.Execute(&text, made); err != nil {
			log.Fatal(err)
		}
		file := "index.html"
		if name != "" {
			file = name + ".html"
		}
		if err := os.WriteFile(filepath.Join(folder, file), text.Bytes(), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
